"""The pipeline as a whole."""
