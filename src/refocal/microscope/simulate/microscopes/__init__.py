"""One module for each acquisition program: `encode` makes a file of an image, `acquire` writes everything in order.

Installed packages add microscopes through the entry point group `refocal.microscopes`; a layout of the same name is
tested on what its microscope writes.
"""
