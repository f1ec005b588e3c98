"""Commands of `one-neuron` that are more than a few lines, a module each."""
