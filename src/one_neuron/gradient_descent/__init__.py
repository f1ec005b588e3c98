"""Training the neuron by batch gradient descent."""
