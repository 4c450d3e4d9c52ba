"""Bursts: several frames of a stream that show the same field, registered to the one to restore.

window    16 to 8 bits             grid      where the metal grid is
quality   which frames are good    register  which frame lies where
stream    the source               mosaic    the sink that puts a strip together
pairs     a stream beside stopped frames, for training and testing
"""
