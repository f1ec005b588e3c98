"""Unit tests of exact."""
