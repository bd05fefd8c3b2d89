"""What a run is called, and which other runs a changed configuration could go on from."""
