"""Training pairs found in recordings: soft and sharp tiles, streams and stopped frames."""
