"""Positions in a picture: squares, strips, and the upright picture within the one that its file stores."""

from collections.abc import Iterator

Box = tuple[int, int, int, int]  # left, top, right, bottom

# For each EXIF orientation (EXIF 2.32, 4.6.5): does the file exchange x and y of the upright picture, does its x run
# backwards, does its y?
_STORED = {
    1: (False, False, False),
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def turn_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Return width and height of the upright picture, from those of the stored one and its orientation, 1 to 8."""
    return (size[1], size[0]) if _STORED[orientation][0] else size


def find_stored_box(box: Box, size: tuple[int, int], orientation: int) -> Box:
    """Return where a box of the upright picture lies in the stored one.

    Parameters
    ----------
    box : Box
        In the upright picture.
    size : (int, int)
        Width and height of the stored picture.
    orientation : int
        Of the stored picture, 1 to 8.
    """
    exchanged, x_backwards, y_backwards = _STORED[orientation]
    left, top, right, bottom = (box[1], box[0], box[3], box[2]) if exchanged else box
    if x_backwards:
        left, right = size[0] - right, size[0] - left
    if y_backwards:
        top, bottom = size[1] - bottom, size[1] - top
    return left, top, right, bottom


def find_square(size: tuple[int, int]) -> Box:
    """Return the largest square in the middle; an odd pixel is dropped at the right or bottom."""
    side = min(size)
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    return left, top, left + side, top + side


def fit(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """Return the size of the same aspect ratio whose longer side is `longest`; halves round up, at least 1 is left."""
    longer = max(size)
    width, height = (max(1, (2 * side * longest + longer) // (2 * longer)) for side in size)
    return width, height


def cut_strips(box: Box, max_pixels: int, *, across: bool = False) -> Iterator[Box]:
    """Cut a box into strips of whole rows, or of whole columns.

    Parameters
    ----------
    box : Box
        At least one pixel wide.
    max_pixels : int
        The most pixels in a strip of more than one row.
    across : bool
        Whether to cut columns.

    Yields
    ------
    Box
        From top to bottom, or from left to right.
    """
    left, top, right, bottom = box
    if across:
        for y0, x0, y1, x1 in cut_strips((top, left, bottom, right), max_pixels):
            yield x0, y0, x1, y1
        return
    rows = max(1, max_pixels // (right - left))
    for start in range(top, bottom, rows):
        yield left, start, right, min(start + rows, bottom)
