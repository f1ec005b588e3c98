"""Loading a data set: `catvnoncat`, `folder` (`data.source: folder` and `drawn`) and `hdf5`."""
