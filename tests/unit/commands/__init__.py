"""Unit tests of commands."""
