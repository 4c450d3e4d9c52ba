"""The ten families of parts. A part is one file with one public name; adding one touches no other file."""
