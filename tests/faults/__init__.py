"""Faults: kills, failing disks, bad servers, flipped bits and simultaneous processes, on the real pipeline."""
