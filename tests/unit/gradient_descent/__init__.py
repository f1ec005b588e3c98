"""Unit tests of gradient_descent."""
