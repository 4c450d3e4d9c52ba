"""The loop, and its four workloads: tiles, volumes, a watched folder, streams of frames."""
