"""Unit tests of drawn_pictures."""
