"""A contact sheet of drawn pictures for the documentation: ``python -m drawn_pictures.sheet FILE.png``."""

import sys
from pathlib import Path

from PIL import Image, ImageDraw

from drawn_pictures import draw_picture

SIDE = 96
GAP = 4
MARGIN = 58
COLUMNS = 10
ROWS = ("cat", "cat", "non-cat", "non-cat")


def contact_sheet(seed: int) -> Image.Image:
    """Return a sheet with two rows of cats and two of other pictures: the first ones of the training set.

    Parameters
    ----------
    seed : int
        The seed of the pictures.

    Returns
    -------
    Image.Image
        Each picture squeezed into a square, as the neuron gets it.
    """
    sheet = Image.new("RGB", (MARGIN + COLUMNS * (SIDE + GAP), len(ROWS) * (SIDE + GAP) + GAP), (255, 255, 255))
    pen = ImageDraw.Draw(sheet)
    places = {
        kind: [(row, column) for row, label in enumerate(ROWS) if label == kind for column in range(COLUMNS)]
        for kind in set(ROWS)
    }
    for row, label in enumerate(ROWS):
        pen.text((6, GAP + row * (SIDE + GAP) + SIDE // 2 - 6), label, fill=(40, 40, 40))
    index = 0
    while any(places.values()):
        picture, kind = draw_picture(seed, "train", index)
        index += 1
        if places[kind]:
            row, column = places[kind].pop(0)
            small = picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            sheet.paste(small, (MARGIN + column * (SIDE + GAP), GAP + row * (SIDE + GAP)))
    return sheet


if __name__ == "__main__":
    contact_sheet(1).save(Path(sys.argv[1]), optimize=True)
