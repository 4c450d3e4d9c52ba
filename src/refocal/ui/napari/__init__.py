"""A plug-in for napari: a reader, and widgets that grade and restore. `napari.yaml` tells napari of them."""
