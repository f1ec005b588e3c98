"""A file in an object store, such as s3://bucket/train.h5, of which parts are read."""

import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from one_neuron.errors import DataError, EnvironmentProblem, one_line

_VARIABLE = "ONE_NEURON_PIXELS_URL"
_NOT_FOUND = 404
_PART_BYTES = 32 * 2**20  # of one request: long enough that its latency does not count


class RemoteFile:
    """A file in any store that fsspec reads.

    Parameters
    ----------
    url : str

    Raises
    ------
    DataError
        If there is no such file.
    EnvironmentProblem
        If the store cannot be read.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        with self._reading():
            import fsspec

            system, name = fsspec.core.url_to_fs(url)
            self._file: Any = system.open(name, "rb", block_size=_PART_BYTES, cache_type="none")
            self.size = int(self._file.size)

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes from `start` to `stop` in parts.

        Raises
        ------
        DataError
            If the file ends before.
        EnvironmentProblem
            As above.
        """
        while start < stop:
            with self._reading():
                self._file.seek(start)
                part = self._file.read(min(_PART_BYTES, stop - start))
            if not part:
                raise DataError(f"'{self.url}' ends after {start} bytes; upload the prepared set again")
            yield part
            start += len(part)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Say what is wrong with a store; each store's library raises exceptions of its own."""
        try:
            yield
        except FileNotFoundError as error:
            # fsspec says so whatever goes wrong with a web server.
            reason = error.__cause__ if self.url.startswith("http") else None
            if isinstance(reason, Exception) and getattr(reason, "status", None) != _NOT_FOUND:
                raise self._unreadable(reason) from error
            raise DataError(f"'{self.url}' does not exist; upload the prepared set, or correct {_VARIABLE}") from error
        except ImportError as error:
            raise EnvironmentProblem(
                f"'{self.url}' cannot be read by {sys.executable} on {platform.node()} ({one_line(error)}); in the "
                "project's folder, `pip install -r requirements-extras.txt` installs what s3:// needs"
            ) from error
        except Exception as error:
            raise self._unreadable(error) from error

    def _unreadable(self, reason: Exception) -> EnvironmentProblem:
        """Return the error for a store that fails."""
        return EnvironmentProblem(
            f"'{self.url}' cannot be read on {platform.node()} ({one_line(reason) or type(reason).__name__}); check "
            f"{_VARIABLE}, and in the environment of Ray's workers the variables of the store"
        )
