"""Restorers: a batch of `Frames` to a list of `Restored`, numpy at the border."""
