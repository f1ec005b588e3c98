"""The files between the stages, checked when they are read."""
