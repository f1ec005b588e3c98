"""Plots of one result, as PNG files with the same bytes every time."""
