"""Pictures that the project draws itself: cats, and animals and things that are none.

They stand in for photographs, so that the experiment runs anywhere, at once, and with the same bytes on every machine:
all geometry is in whole numbers, all chance comes from SHA-256, and the files are written with fixed options.
"""

from pathlib import Path

from PIL import Image

from drawn_pictures.animals import draw_animal
from drawn_pictures.canvas import Colour, Dice, Figure, Pen
from drawn_pictures.cats import draw_cat
from drawn_pictures.places import PLACES, clutter
from drawn_pictures.things import draw_thing

__all__ = ["draw_picture", "draw_pictures"]

# Pictures are drawn three times as large and then averaged down, which makes their edges smooth.
FINER = 3
SIZES = (
    (72, 96), (80, 80), (96, 96), (100, 80), (96, 84), (84, 96), (112, 96), (120, 120), (128, 112), (120, 140),
    (144, 120), (160, 128), (200, 150),
)  # fmt: skip
# How much of red, green and blue remains, in percent: daylight, lamps, evening, moonlight, shade. The neuron learns
# at the course's rate only from rather dark pictures: its descent grows unstable as their mean square grows.
LIGHTS = ((100, 96, 90), (100, 88, 72), (94, 86, 100), (82, 88, 100), (92, 96, 90))
STRENGTH = (88, 100)  # of the light on the whole picture, in percent
SHADE = (65, 92)  # what the place keeps of that light, in percent
# How hard the pictures are for one neuron is set here: it sees no shapes, only which pixel is bright on average. The
# more the subjects differ in size and position, the less it can tell; one percent of the picture matters.
HEIGHT = (84, 97)  # of the subject, in percent of the picture
ASIDE = 2  # how far the subject may stand beside the middle, in percent of the width
FLOOR = (94, 97)  # where it stands, in percent from the top
ANIMALS = 60  # percent of the pictures without a cat that show another animal
PNG_RUN_LENGTHS = 3  # zlib's Z_RLE: its result does not depend on how a processor's instructions search for repeats


def draw_picture(seed: int, split: str, index: int) -> tuple[Image.Image, str]:
    """Draw one picture.

    Parameters
    ----------
    seed : int
        Any whole number; another seed gives other pictures.
    split : str
        Name of the split, such as ``"train"`` or ``"test"``; splits share no picture.
    index : int
        Number of the picture in its split, from 0. The pictures 2k and 2k + 1 are one cat and one that is none.

    Returns
    -------
    tuple of Image.Image and str
        The picture in mode RGB and its class, ``"cat"`` or ``"non-cat"``. Both depend on the three arguments only.
    """
    first_is_cat = Dice(seed, split, "pair", index // 2).chance(50)
    is_cat = first_is_cat == (index % 2 == 0)
    dice = Dice(seed, split, "picture", index)
    width, height = dice.choose(SIZES)
    scene = Image.new("RGB", (width * FINER, height * FINER))
    _set_scene(scene, is_cat, dice)
    picture = scene.reduce(FINER)
    return _lit(picture, dice.choose(LIGHTS), dice.between(*STRENGTH)), "cat" if is_cat else "non-cat"


def _lit(picture: Image.Image, light: Colour, strength: int) -> Image.Image:
    """Return `picture` in a light that leaves some percent of each colour."""
    return picture.point([level * part * strength // 10000 for part in light for level in range(256)])


def _set_scene(scene: Image.Image, is_cat: bool, dice: Dice) -> None:
    """Draw a place, things behind, the subject and something in front of it."""
    pen = Pen(scene, 0, 0, scene.height)
    wide = scene.width * 100 // scene.height + 1
    dice.choose(PLACES)(pen, dice, wide)
    for _ in range(dice.below(4)):
        clutter(pen, dice, dice.between(0, wide), dice.between(68, 84))
    # The place lies in the shade, so that the subject stands out.
    scene.paste(_lit(scene, (100, 100, 100), dice.between(*SHADE)))
    size = min(100, wide) * dice.between(*HEIGHT) // 100
    u = wide // 2 + wide * dice.between(-ASIDE, ASIDE) // 100
    v = dice.between(*FLOOR) - size // 2
    pen.disc(u, v + size // 2, size * 2 // 5, size // 16, (22, 20, 26))
    x, y = pen.at(u, v)
    figure = Figure.above(scene, x, y, scene.height * size // 100, mirrored=dice.chance(50))
    subject = draw_cat if is_cat else draw_animal if dice.chance(ANIMALS) else draw_thing
    subject(figure, scene, dice)
    if dice.chance(35):
        clutter(pen, dice, dice.between(0, wide), dice.between(98, 104))


def draw_pictures(folder: Path, *, seed: int, num_train: int, num_test: int) -> None:
    """Write pictures in the layout ``folder/{train,test}/{cat,non-cat}/NNNNN.{png,jpg}``.

    Parameters
    ----------
    folder : Path
        An empty or absent folder; its parents are made.
    seed : int
        Any whole number; another seed gives other pictures.
    num_train, num_test : int
        Pictures in each split, at least 2. The first ones stay the same when more are asked for.

    Raises
    ------
    ValueError
        A split would get fewer than 2 pictures, and so perhaps only one class.
    OSError
        The folder cannot be written.
    """
    if min(num_train, num_test) < 2:
        raise ValueError(f"each split needs at least 2 pictures, not {num_train} and {num_test}")
    for split, number in (("train", num_train), ("test", num_test)):
        for index in range(number):
            picture, kind = draw_picture(seed, split, index)
            place = folder.joinpath(split, kind)
            place.mkdir(parents=True, exist_ok=True)
            _save(picture, place.joinpath(f"{index:05d}"), Dice(seed, split, "format", index))


def _save(picture: Image.Image, stem: Path, dice: Dice) -> None:
    """Write `picture` as a PNG or JPEG file with fixed options."""
    if dice.chance(50):
        picture.save(f"{stem}.png", format="PNG", compress_level=6, compress_type=PNG_RUN_LENGTHS)
    else:
        # Full colour resolution: no part of a decoder that could smooth colours its own way comes into play.
        picture.save(f"{stem}.jpg", format="JPEG", quality=90, subsampling="4:4:4", optimize=False, progressive=False)
