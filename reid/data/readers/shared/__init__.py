"""What several readers need: folders, published lists, annotation files, the tree of an exported set."""
