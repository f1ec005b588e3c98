"""A trained neuron behind an HTTP address, with a page to try it."""
