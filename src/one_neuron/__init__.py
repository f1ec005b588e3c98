"""Logistic regression as a network of one neuron."""
