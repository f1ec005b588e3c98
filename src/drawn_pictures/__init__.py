"""The default pictures: drawn cats, and drawn animals and things that are not cats.

They stand in for photographs, so that the experiment runs offline and with the same bytes on every machine: geometry
uses integers only, random choices come from SHA-256, and files are written with fixed options. The package imports
Pillow and the standard library, nothing of ``one_neuron``.
"""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from PIL import Image

from drawn_pictures.animals import draw_animal
from drawn_pictures.canvas import Colour, Dice, Figure, Pen
from drawn_pictures.cats import draw_cat
from drawn_pictures.places import PLACES, clutter
from drawn_pictures.things import draw_thing

__all__ = ["draw_picture", "draw_pictures"]

# Pictures are drawn three times as large and averaged down, which makes their edges smooth.
FINER = 3
SIZES = (
    (72, 96), (80, 80), (96, 96), (100, 80), (96, 84), (84, 96), (112, 96), (120, 120), (128, 112), (120, 140),
    (144, 120), (160, 128), (200, 150),
)  # fmt: skip
# Percent of red, green and blue that remain in daylight, lamplight, evening, moonlight and shade. The pictures are
# rather dark on purpose: gradient descent at the course's learning rate is unstable if their mean square is large.
LIGHTS = ((100, 96, 90), (100, 88, 72), (94, 86, 100), (82, 88, 100), (92, 96, 90))
STRENGTH = (88, 100)  # brightness of the whole picture, in percent
SHADE = (65, 92)  # brightness of the background relative to that, in percent
# These three values decide how hard the task is. One neuron sees no shapes, only which pixels are bright on average:
# the more the subjects vary in size and position, the lower its accuracy. A change of one percent already shows.
HEIGHT = (84, 97)  # of the subject, in percent of the picture's height
ASIDE = 2  # largest distance of the subject from the middle, in percent of the width
FLOOR = (94, 97)  # the subject's lower edge, in percent from the top
ANIMALS = 60  # percent of the non-cat pictures that show another animal
SHARE = 25  # pictures that a process draws at a time
PNG_RUN_LENGTHS = 3  # zlib's Z_RLE: its output does not depend on which CPU instructions search for repeats


def draw_picture(seed: int, split: str, index: int) -> tuple[Image.Image, str]:
    """Draw one picture.

    Parameters
    ----------
    seed : int
        Any integer; another seed gives other pictures.
    split : str
        Name of the split, such as ``"train"`` or ``"test"``. Splits share no picture.
    index : int
        Number of the picture in its split, from 0. Of the pictures 2k and 2k + 1, exactly one shows a cat.

    Returns
    -------
    tuple of Image.Image and str
        The picture in mode RGB and its class, ``"cat"`` or ``"non-cat"``. Both depend only on the three arguments.
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
    """Return `picture` with each colour channel scaled by `light` and by `strength`, both in percent."""
    return picture.point([level * part * strength // 10000 for part in light for level in range(256)])


def _set_scene(scene: Image.Image, is_cat: bool, dice: Dice) -> None:
    """Draw the background, clutter behind the subject, the subject, and sometimes clutter in front of it."""
    pen = Pen(scene, 0, 0, scene.height)
    wide = scene.width * 100 // scene.height + 1
    dice.choose(PLACES)(pen, dice, wide)
    for _ in range(dice.below(4)):
        clutter(pen, dice, dice.between(0, wide), dice.between(68, 84))
    # The background is darkened so that the subject stands out.
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


def draw_pictures(
    folder: Path, *, seed: int, num_train: int, num_test: int, apply: Callable[..., Iterable[None]] = map
) -> None:
    """Write pictures as ``folder/{train,test}/{cat,non-cat}/NNNNN.{png,jpg}``.

    Parameters
    ----------
    folder : Path
        An empty or absent folder. Its parents are created.
    seed : int
        Any integer; another seed gives other pictures.
    num_train, num_test : int
        Number of pictures in each split, at least 2. A larger number adds pictures and keeps the first ones.
    apply : callable
        Calls a function for each share of the pictures, as the built-in ``map`` does; ``Executor.map`` of a pool of
        processes draws on all cores. The files are the same.

    Raises
    ------
    ValueError
        A split would have fewer than 2 pictures, and so perhaps only one class.
    OSError
        The folder cannot be written.
    """
    if min(num_train, num_test) < 2:
        raise ValueError(f"each split needs at least 2 pictures, not {num_train} and {num_test}")
    splits, shares = [], []
    for split, number in (("train", num_train), ("test", num_test)):
        for start in range(0, number, SHARE):
            splits.append(split)
            shares.append(range(start, min(start + SHARE, number)))
    for _ in apply(partial(_draw_share, folder, seed), splits, shares):
        pass


def _draw_share(folder: Path, seed: int, split: str, indices: Iterable[int]) -> None:
    """Write the pictures of a split that have the given numbers."""
    for index in indices:
        picture, kind = draw_picture(seed, split, index)
        place = folder.joinpath(split, kind)
        place.mkdir(parents=True, exist_ok=True)
        _save(picture, place.joinpath(f"{index:05d}"), Dice(seed, split, "format", index))


def _save(picture: Image.Image, stem: Path, dice: Dice) -> None:
    """Write `picture` as a PNG or JPEG file with fixed options."""
    if dice.chance(50):
        picture.save(f"{stem}.png", format="PNG", compress_level=6, compress_type=PNG_RUN_LENGTHS)
    else:
        # Full colour resolution, so that no decoder has to interpolate colours (they do it in different ways).
        picture.save(f"{stem}.jpg", format="JPEG", quality=90, subsampling="4:4:4", optimize=False, progressive=False)
