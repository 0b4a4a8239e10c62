"""What a model is worth, measured on the file that is served, and the gates that judge it."""
