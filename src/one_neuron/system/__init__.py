"""The operating system: files, processes, cores and the terminal."""
