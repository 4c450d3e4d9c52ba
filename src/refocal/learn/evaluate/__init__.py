"""Scores of restorers: by pixels, by cells, by speed and by cost."""
