"""A socket as a file, for tests of what reads folders."""

import socket
from contextlib import chdir
from pathlib import Path


def make_socket(path: str | Path) -> None:
    """Leave a socket at a path. Its name alone is passed on, because the system takes about a hundred characters."""
    with socket.socket(socket.AF_UNIX) as made, chdir(Path(path).parent):
        made.bind(Path(path).name)
