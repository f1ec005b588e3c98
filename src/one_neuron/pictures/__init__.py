"""Picture files of any format become rows of pixels."""
