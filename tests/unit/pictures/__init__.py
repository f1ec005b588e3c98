"""Unit tests of pictures."""
