"""The names that the notebook calls."""
