"""One module for each acquisition program: `encode` makes a file of an image, `acquire` writes everything in order."""
