"""One file a stage; stages never import each other."""
