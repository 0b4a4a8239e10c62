"""Data sets that need no download: built from what the installed packages hold."""
