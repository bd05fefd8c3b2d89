"""What training costs around its steps."""
