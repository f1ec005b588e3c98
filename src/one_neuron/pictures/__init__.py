"""Picture files, read safely, as rows of pixels."""
