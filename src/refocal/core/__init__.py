"""Values, protocols and the tools that everything else stands on; imports nothing of refocal but itself."""
