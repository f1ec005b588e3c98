"""Write a contact sheet of drawn pictures for the documentation: ``python -m drawn_pictures.sheet FILE.png``."""

import argparse
from pathlib import Path

from PIL import Image, ImageDraw

from drawn_pictures import draw_picture

SIDE = 96
GAP = 4
MARGIN = 58
COLUMNS = 10
ROWS = ("cat", "cat", "non-cat", "non-cat")


def contact_sheet(seed: int) -> Image.Image:
    """Return a sheet of the first training pictures: two rows of cats and two of other pictures.

    Parameters
    ----------
    seed : int
        The seed of the pictures.

    Returns
    -------
    Image.Image
        Each picture is stretched to a square, as it is for the neuron.
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
    parser = argparse.ArgumentParser(prog="python -m drawn_pictures.sheet", description="Write a contact sheet.")
    parser.add_argument("file", type=Path, help="the PNG file to write")
    contact_sheet(seed=1).save(parser.parse_args().file, format="PNG", optimize=True)
