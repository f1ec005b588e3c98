"""Loading a data set: one module for each value of `data.source`."""
