"""The durable gallery: vectors and metadata of known captures, and search over them."""
