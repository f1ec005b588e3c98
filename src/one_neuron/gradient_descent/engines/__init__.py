"""Where the passes over the rows run: on workers of Ray or on a GPU. An engine changes no bit of a result."""
