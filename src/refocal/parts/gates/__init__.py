"""Gates decide whether to restore: `Frames` to a `Grade` with a verdict and its reason."""
