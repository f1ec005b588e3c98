"""Unit tests of plots."""
