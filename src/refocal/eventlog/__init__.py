"""The append-only log of a run: written by runs, read by everything that reports on them."""
