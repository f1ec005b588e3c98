"""Seeded random choices and shapes with integer coordinates, of which the pictures are made.

Nothing here uses floating point, whose last bit may differ between CPUs and maths libraries and would change the
picture. That rules out sine tables, rotations, and Pillow's own polygons, arcs and thick lines.
"""

import hashlib
from collections.abc import Sequence
from typing import Self, TypeVar

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[int, int]
T = TypeVar("T")

WORDS_PER_DIGEST = 8
WORD_BYTES = 4


class Dice:
    """Random integers that depend only on a key, on every machine and in every version of Python.

    Parameters
    ----------
    *key : object
        Parts of the key; `str` of each is hashed.
    """

    def __init__(self, *key: object) -> None:
        self._key = "/".join(str(part) for part in key).encode()
        self._digests = 0
        self._words: list[int] = []

    def _word(self) -> int:
        """Return the next 32 bits of SHA-256(key, counter)."""
        if not self._words:
            digest = hashlib.sha256(self._key + self._digests.to_bytes(8, "big")).digest()
            self._digests += 1
            starts = range(0, WORDS_PER_DIGEST * WORD_BYTES, WORD_BYTES)
            self._words = [int.from_bytes(digest[start : start + WORD_BYTES], "big") for start in starts]
        return self._words.pop()

    def below(self, n: int) -> int:
        """Return an integer from 0 to `n` - 1."""
        return self._word() * n >> 32

    def between(self, low: int, high: int) -> int:
        """Return an integer from `low` to `high`, both included."""
        return low + self.below(high - low + 1)

    def choose(self, options: Sequence[T]) -> T:
        """Return one of `options`."""
        return options[self.below(len(options))]

    def chance(self, percent: int) -> bool:
        """Return True with a probability of `percent` / 100."""
        return self.below(100) < percent


def mix(one: Colour, other: Colour, percent: int) -> Colour:
    """Return the colour that lies `percent` (0 to 100) of the way from `one` to `other`."""
    red, green, blue = (a + (b - a) * percent // 100 for a, b in zip(one, other, strict=True))
    return red, green, blue


def spans(points: Sequence[Point], height: int) -> list[tuple[int, list[int]]]:
    """Return (y, sorted x of the crossings with the outline through `points`) for each row from 0 to `height` - 1."""
    rows: dict[int, list[int]] = {}
    for one, other in zip(points, [*points[1:], points[0]], strict=True):
        (xa, ya), (xb, yb) = (one, other) if one[1] <= other[1] else (other, one)
        for y in range(max(ya, 0), min(yb, height)):
            rows.setdefault(y, []).append(xa + (y - ya) * (xb - xa) // (yb - ya))
    return [(y, sorted(crossings)) for y, crossings in sorted(rows.items())]


def fill(draw: ImageDraw.ImageDraw, rows: list[tuple[int, list[int]]], colour: Colour | int) -> None:
    """Fill the rows that `spans` found."""
    if all(len(crossings) == 2 for _, crossings in rows):
        # One thin line that zigzags over the rows: a single call, and Pillow draws thin lines with integers.
        path: list[int] = []
        for y, (left, right) in rows:
            path += (left, y, right, y) if y % 2 else (right, y, left, y)
        draw.line(path, fill=colour)
        return
    for y, crossings in rows:
        for left, right in zip(crossings[::2], crossings[1::2], strict=True):
            draw.line((left, y, right, y), fill=colour)


class Pen:
    """Draws shapes in its own coordinates, called steps: with an origin, a scale, and optionally mirrored.

    Parameters
    ----------
    sheet : Image.Image
        The picture to draw on (mode RGB).
    x, y : int
        The origin, in pixels of the sheet.
    unit : int
        Pixels in 100 steps; at least 1.
    mirrored : bool
        Flip left and right.
    shape : Image.Image, optional
        A mask (mode 1) in which the pen marks every pixel it covers.
    """

    def __init__(
        self, sheet: Image.Image, x: int, y: int, unit: int, *, mirrored: bool = False, shape: Image.Image | None = None
    ) -> None:
        self.sheet, self.x, self.y, self.unit, self.mirrored, self.shape = sheet, x, y, unit, mirrored, shape
        self._draw = ImageDraw.Draw(sheet)
        self._cut = None if shape is None else ImageDraw.Draw(shape)

    def within(self, u: int, v: int, unit: int) -> Self:
        """Return a pen with its origin at (u, v), whose 100 steps are `unit` steps of this pen."""
        x, y = self.at(u, v)
        size = max(1, self.unit * unit // 100)
        return type(self)(self.sheet, x, y, size, mirrored=self.mirrored, shape=self.shape)

    def marker(self) -> "Pen":
        """Return a pen with the same coordinates that does not mark the mask: it cannot extend the figure's outline."""
        return self.on(self.sheet)

    def on(self, sheet: Image.Image) -> "Pen":
        """Return a pen with the same coordinates on another sheet, without a mask."""
        return Pen(sheet, self.x, self.y, self.unit, mirrored=self.mirrored)

    def at(self, u: int, v: int) -> Point:
        """Return the pixel (x, y) of the point (u, v)."""
        across = u * self.unit // 100
        return self.x + (-across if self.mirrored else across), self.y + v * self.unit // 100

    def disc(self, u: int, v: int, ru: int, rv: int, colour: Colour) -> None:
        """Draw an ellipse with centre (u, v) and radii ru and rv."""
        x, y = self.at(u, v)
        rx, ry = ru * self.unit // 100, rv * self.unit // 100
        self._ellipse((x - rx, y - ry, x + rx, y + ry), colour)

    def _ellipse(self, box: tuple[int, int, int, int], colour: Colour) -> None:
        """Fill an ellipse given in pixels."""
        self._draw.ellipse(box, fill=colour)
        if self._cut is not None:
            self._cut.ellipse(box, fill=1)

    def box(self, u0: int, v0: int, u1: int, v1: int, colour: Colour) -> None:
        """Draw an upright rectangle between two corners."""
        (xa, ya), (xb, yb) = self.at(u0, v0), self.at(u1, v1)
        corners = (min(xa, xb), min(ya, yb), max(xa, xb), max(ya, yb))
        self._draw.rectangle(corners, fill=colour)
        if self._cut is not None:
            self._cut.rectangle(corners, fill=1)

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        """Draw a filled polygon."""
        rows = spans([self.at(u, v) for u, v in points], self.sheet.height)
        fill(self._draw, rows, colour)
        if self._cut is not None:
            fill(self._cut, rows, 1)

    def pair(self, points: Sequence[Point], colour: Colour) -> None:
        """Draw a polygon and its mirror image on the other side of the origin."""
        self.polygon(points, colour)
        self.polygon([(-u, v) for u, v in points], colour)

    def two(self, u: int, v: int, ru: int, rv: int, colour: Colour) -> None:
        """Draw an ellipse at (u, v) and another at (-u, v)."""
        self.disc(u, v, ru, rv, colour)
        self.disc(-u, v, ru, rv, colour)

    def curve(self, start: Point, bend: Point, end: Point, widths: tuple[int, int], colour: Colour) -> None:
        """Draw a band with round ends along a quadratic Bezier curve, as a chain of discs.

        Parameters
        ----------
        start, bend, end : tuple of int
            The control points of the curve.
        widths : tuple of int
            Radius of the band at its start and at its end, in steps.
        colour : tuple of int
            Red, green, blue.
        """
        (xa, ya), (xb, yb), (xc, yc) = self.at(*start), self.at(*bend), self.at(*end)
        first, last = (max(1, width * self.unit // 100) for width in widths)
        length = max(abs(xb - xa), abs(yb - ya)) + max(abs(xc - xb), abs(yc - yb))
        steps = max(2, length * 4 // (first + last))
        for step in range(steps + 1):
            a, b, c = (steps - step) ** 2, 2 * step * (steps - step), step * step
            x, y = (a * xa + b * xb + c * xc) // steps**2, (a * ya + b * yb + c * yc) // steps**2
            radius = first + (last - first) * step // steps
            self._ellipse((x - radius, y - radius, x + radius, y + radius), colour)

    def limb(self, start: Point, end: Point, width: int, colour: Colour) -> None:
        """Draw a straight band with round ends of radius `width`."""
        middle = ((start[0] + end[0]) // 2, (start[1] + end[1]) // 2)
        self.curve(start, middle, end, (width, width), colour)

    def fade(self, v0: int, v1: int, top: Colour, bottom: Colour) -> None:
        """Fill the whole width between v0 and v1 with a gradient from `top` to `bottom`."""
        bands = max(1, (v1 - v0) // 2)
        for band in range(bands):
            _, y0 = self.at(0, v0 + (v1 - v0) * band // bands)
            _, y1 = self.at(0, v0 + (v1 - v0) * (band + 1) // bands)
            colour = mix(top, bottom, 100 * band // bands)
            self._draw.rectangle((0, y0, self.sheet.width, y1), fill=colour)


class Figure(Pen):
    """A pen on a separate sheet, whose drawing is pasted into a scene with a rim around it."""

    @classmethod
    def above(cls, scene: Image.Image, x: int, y: int, unit: int, *, mirrored: bool) -> Self:
        """Return a figure with its origin at the pixel (x, y) of `scene`, whose 100 steps are `unit` pixels."""
        return cls(Image.new("RGB", scene.size), x, y, unit, mirrored=mirrored, shape=Image.new("1", scene.size))

    def settle(self, scene: Image.Image, rim: Colour) -> None:
        """Paste the figure into `scene` with a rim around it."""
        if self.shape is None:
            raise ValueError("a figure needs a mask: create it with Figure.above")
        box = self.shape.getbbox()
        if box is None:
            return
        width = max(2, self.unit // 120)
        cut, part = self.shape.crop(box), self.sheet.crop(box)
        for dx, dy in ((-width, 0), (width, 0), (0, -width), (0, width)):
            scene.paste(rim, (box[0] + dx, box[1] + dy), cut)
        scene.paste(part, box[:2], cut)
