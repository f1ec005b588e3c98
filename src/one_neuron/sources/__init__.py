"""Loading a data set from where its pictures are."""
