"""Refusals of picture files: the wording of their messages, and the limits that hold for the parts of all formats."""

from one_neuron.errors import DataError

REMEDY_REPLACE = "replace or remove it"
# And one for each kilobyte of the file: libpng writes parts of 8 KB, and some encoders one part for each row.
_MAX_PARTS = 20_000
_MAX_METADATA = 64_000_000  # bytes; extended XMP can hold a second picture or a sound


def damaged_message(reason: str) -> str:
    """Return the message for a file that begins as a picture and cannot be decoded."""
    return f"is damaged ({reason}); {REMEDY_REPLACE}"


def limit_error(limit: int, what: str) -> DataError:
    """Build the error for a file that exceeds a limit; counting stops at the limit."""
    return DataError(f"has more than {limit:,} {what}; save the picture again without them, or remove it")


def check_counts(parts: int, size: int, metadata: int) -> None:
    """Refuse a file of `size` bytes with too many parts (segments, chunks, blocks) or bytes of metadata."""
    if parts > _MAX_PARTS + size // 1_000:
        raise limit_error(_MAX_PARTS + size // 1_000, f"parts in its {size:,} bytes")
    if metadata > _MAX_METADATA:
        raise limit_error(_MAX_METADATA, "bytes of metadata")
