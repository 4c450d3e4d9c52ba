"""Image mathematics on numpy arrays: no files, no networks, no runs."""
