"""The trained network as the file that is served, and proof that the two agree."""
