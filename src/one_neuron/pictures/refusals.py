"""Why a picture file is refused."""

from one_neuron.errors import DataError


def damaged_message(reason: str) -> str:
    """Say what is wrong with a file that begins as a picture does.

    Parameters
    ----------
    reason : str
        Without a full stop.
    """
    return f"is damaged ({reason}); replace or remove it"


def limit_error(most: int, what: str) -> DataError:
    """Say that a file has more of something than is read; how many there are is not waited for."""
    return DataError(f"has more than {most:,} {what}; save the picture again without them, or remove it")


_MOST_PARTS = 20_000  # and one for each kilobyte of the file: libpng makes one of 8 KB, some encoders one of each row


_MOST_METADATA = 64_000_000  # bytes; extended XMP can hold a second picture, or a sound


LOOK, BLOCK = 2_048, 2**20  # bytes that are read ahead, at first and at most


def check_counts(parts: int, size: int, metadata: int) -> None:
    """Refuse a file of too many parts, or one that says too much of itself."""
    if parts > _MOST_PARTS + size // 1_000:
        raise limit_error(_MOST_PARTS + size // 1_000, f"parts in its {size:,} bytes")
    if metadata > _MOST_METADATA:
        raise limit_error(_MOST_METADATA, "bytes of metadata")
