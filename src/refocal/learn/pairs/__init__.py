"""Pairs to learn from, found in recordings: soft and sharp tiles, streams and stopped frames."""
