"""Image files as source and sink of a run."""
