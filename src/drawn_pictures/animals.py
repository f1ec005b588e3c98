"""Animals that could be mistaken for a cat: dogs, foxes, rabbits, mice, bears, owls, birds and fish."""

from collections.abc import Callable
from dataclasses import replace

from PIL import Image

from drawn_pictures.bodies import (
    BLACK,
    FURS,
    PINK,
    SHINE,
    Coat,
    chin_shadow,
    collar,
    lying,
    roll_coat,
    sitting,
    walking,
)
from drawn_pictures.canvas import Colour, Dice, Figure, Pen, mix

DARK_EYES = (60, 34, 20)


def round_eyes(pen: Pen, u: int, v: int, size: int) -> None:
    """Draw two dark round eyes with a glint."""
    for side in (-1, 1):
        pen.disc(side * u, v, size, size, DARK_EYES)
        pen.disc(side * u, v, size * 3 // 4, size * 3 // 4, BLACK)
        pen.disc(side * u - size // 3, v - size // 3, size // 3, size // 3, SHINE)


def dog_head(pen: Pen, coat: Coat, dice: Dice) -> None:
    """Draw a dog's head of radius 100: hanging or pointed ears, a long muzzle, a big nose and sometimes the tongue."""
    ear = coat.dark if coat.pattern in ("plain", "points", "tabby") else coat.spot
    ear = mix(ear, BLACK, 15)
    pen.disc(0, 0, 92, 92, coat.fur)
    if coat.pattern == "patches":
        pen.marker().disc(-48, -20, 44, 50, coat.spot)
    elif coat.pattern == "tuxedo":
        pen.marker().disc(0, -20, 24, 80, SHINE)
    if dice.chance(75):
        for side in (-1, 1):
            pen.curve((side * 66, -66), (side * 122, -50), (side * 100, 56), (26, 34), ear)
    else:
        pen.pair(((-88, -36), (-86, -108), (-44, -112), (-20, -80)), mix(ear, BLACK, 35))
        pen.pair(((-92, -112), (-34, -116), (-94, -42)), ear)
    round_eyes(pen, 38, -18, 18)
    muzzle = coat.dark if coat.pattern == "points" else coat.light
    if dice.chance(50):
        pen.disc(8, 86, 18, 30, (206, 84, 92))
    pen.disc(0, 46, 50, 44, muzzle)
    pen.disc(0, 22, 28, 20, BLACK)
    pen.disc(-8, 15, 9, 5, (120, 116, 122))
    pen.curve((-34, 66), (-10, 84), (0, 58), (4, 4), BLACK)
    pen.curve((34, 66), (10, 84), (0, 58), (4, 4), BLACK)


def fox_head(pen: Pen, coat: Coat, dice: Dice) -> None:
    """Draw a fox's head: a wedge with white cheeks, a narrow snout and black-tipped ears."""
    tip = -dice.between(138, 156)
    pen.pair(((-98, -10), (-90, tip), (-10, -70)), coat.fur)
    pen.pair(((-94, -76), (-90, tip), (-52, -110)), BLACK)
    pen.disc(0, -16, 96, 68, coat.fur)
    pen.polygon(((-112, -2), (112, -2), (24, 94), (-24, 94)), SHINE)
    pen.polygon(((-84, -30), (84, -30), (22, 88), (-22, 88)), coat.fur)
    pen.disc(0, 92, 17, 14, BLACK)
    for side in (-1, 1):
        pen.curve((side * 54, -12), (side * 40, -14), (side * 24, 6), (8, 12), BLACK)


def rabbit_head(pen: Pen, coat: Coat, dice: Dice) -> None:
    """Draw a rabbit's head: two very long ears, round cheeks and front teeth."""
    lean = dice.between(0, 26)
    for side in (-1, 1):
        pen.curve((side * 34, -60), (side * 38, -130), (side * (40 + lean), -196), (28, 18), coat.ends)
        pen.curve((side * 34, -80), (side * 38, -130), (side * (40 + lean), -186), (14, 8), PINK)
    pen.disc(0, 0, 84, 88, coat.fur)
    pen.two(44, 38, 44, 40, coat.fur)
    round_eyes(pen, 50, -14, 20)
    pen.two(17, 44, 26, 22, coat.light)
    pen.box(-10, 58, 10, 82, SHINE)
    pen.pair(((0, 22), (-14, 22), (0, 38)), PINK)


def mouse_head(pen: Pen, coat: Coat, dice: Dice) -> None:
    """Draw a mouse's head: two big round ears and a pointed nose."""
    size = dice.between(54, 68)
    pen.two(84, -66, size, size, coat.fur)
    pen.two(84, -66, size * 2 // 3, size * 2 // 3, PINK)
    pen.disc(0, 0, 82, 76, coat.fur)
    snout = mix(coat.fur, coat.light, 55)
    pen.polygon(((-46, 30), (46, 30), (16, 92), (-16, 92)), snout)
    pen.disc(0, 34, 47, 22, snout)
    pen.disc(0, 90, 17, 15, PINK)
    pen.box(-8, 104, 8, 118, SHINE)
    round_eyes(pen, 36, -10, 16)


def bear_head(pen: Pen, coat: Coat, dice: Dice) -> None:
    """Draw a bear's head: small round ears and a short round muzzle."""
    pen.two(74, -70, 34, 34, coat.fur)
    pen.two(74, -70, 19, 19, coat.dark)
    pen.disc(0, 0, 100, 92, coat.fur)
    round_eyes(pen, dice.between(32, 44), -14, 13)
    pen.disc(0, 40, 44, 36, coat.light)
    pen.disc(0, 24, 18, 12, BLACK)
    pen.limb((0, 36), (0, 56), 3, BLACK)


Head = Callable[[Pen, Coat, Dice], None]


def tail_of(figure: Figure, coat: Coat, kind: Head, root: tuple[int, int]) -> None:
    """Draw the tail that goes with a kind of head, from its root near the animal's back."""
    u, v = root
    if kind is fox_head:
        figure.curve(root, (u + 22, v + 2), (u + 26, v - 22), (6, 12), coat.fur)
        figure.disc(u + 27, v - 30, 9, 10, SHINE)
    elif kind is dog_head:
        figure.curve(root, (u + 16, v - 4), (u + 20, v - 20), (6, 3), coat.fur)
    elif kind is mouse_head:
        figure.curve(root, (u + 26, v + 14), (u + 34, v - 16), (2, 1), PINK)
    else:
        figure.disc(u + 3, v, 8, 8, coat.light)


def set_head(pen: Pen, coat: Coat, dice: Dice, kind: Head) -> None:
    """Draw a head and its shadow on the body."""
    chin_shadow(pen, coat)
    kind(pen, coat, dice)


def furry(figure: Figure, coat: Coat, dice: Dice, kind: Head) -> None:
    """Draw a four-legged animal with the given kind of head, in one of a cat's poses."""
    pose = dice.below(10)
    if kind is rabbit_head:
        figure = figure.within(0, 8, 84)  # room for the ears
    if pose < 3:
        tail_of(figure, coat, kind, (22, 40))
        sitting(figure, coat)
        set_head(figure.within(dice.between(-3, 3), -20, dice.between(19, 21)), coat, dice, kind)
        collar(figure, dice)
    elif pose < 6:
        figure.disc(0, 62, 46, 40, coat.fur)
        figure.disc(0, 60, 18, 34, coat.chest)
        set_head(figure.within(0, 4, dice.between(30, 38) if kind is not rabbit_head else 28), coat, dice, kind)
    elif pose < 8:
        tail_of(figure, coat, kind, (36, 2))
        walking(figure, coat, dice.between(0, 7))
        set_head(figure.within(-36, dice.between(-16, -10), dice.between(17, 20)), coat, dice, kind)
    else:
        tail_of(figure, coat, kind, (46, 34))
        lying(figure, coat)
        set_head(figure.within(-26, dice.between(4, 9), dice.between(20, 23)), coat, dice, kind)


def owl(figure: Figure, coat: Coat, dice: Dice) -> None:
    """Draw an owl with ear tufts and big eyes on a branch."""
    figure.pair(((-30, -22), (-30, -52), (-8, -36)), coat.fur)
    figure.disc(0, 4, 32, 42, coat.fur)
    figure.disc(0, 16, 20, 28, coat.chest)
    for v in (8, 20, 32):
        for u in (-10, 0, 10):
            figure.disc(u, v, 3, 3, coat.dark)
    figure.pair(((-24, -4), (-42, 14), (-22, 40)), coat.dark)
    look = dice.between(-3, 3)
    for side in (-1, 1):
        figure.disc(side * 14, -20, 15, 15, coat.light)
        figure.disc(side * 13, -20, 10, 10, coat.eyes)
        figure.disc(side * 13 + look, -20, 6, 6, BLACK)
    figure.pair(((0, -16), (-5, -14), (0, -4)), (222, 160, 50))
    figure.limb((-48, 47), (48, 46), 4, (92, 60, 40))


def bird(figure: Figure, coat: Coat, dice: Dice) -> None:
    """Draw a bird from the side: beak, wing, tail feathers and thin legs."""
    colours: tuple[Colour, ...] = ((206, 76, 60), (76, 130, 190), (224, 188, 72), coat.fur, coat.fur, coat.fur)
    feathers = dice.choose(colours)
    wing, belly = mix(feathers, BLACK, 30), mix(feathers, SHINE, 50)
    for u in (-4, 10):
        figure.limb((u, 26), (u - 3, 48), 1, (190, 130, 60))
        figure.limb((u - 9, 49), (u + 3, 49), 1, (190, 130, 60))
    figure.polygon(((20, -2), (56, -14), (58, 2), (22, 20)), wing)
    figure.disc(2, 8, 32, 24, feathers)
    figure.marker().disc(-6, 20, 26, 14, belly)
    figure.polygon(((-38, -26), (-60, -18), (-36, -12)), (226, 150, 50))
    figure.disc(-24, -18, 19, 18, feathers)
    figure.disc(-30, -22, 5, 5, SHINE)
    figure.disc(-31, -22, 3, 3, BLACK)
    figure.polygon(((-10, -2), (26, 2), (40, 18), (4, 18)), wing)


def fish(figure: Figure, coat: Coat, dice: Dice) -> None:
    """Draw a fish in a bowl."""
    scales = dice.choose((coat.fur, (226, 110, 40), (210, 160, 60)))
    figure.disc(0, 6, 48, 44, (128, 150, 160))
    figure.disc(0, 8, 45, 40, (34, 84, 110))
    figure.box(-28, -42, 28, -34, (128, 150, 160))
    figure.marker().disc(0, 46, 34, 10, (150, 124, 84))
    figure.polygon(((16, 8), (36, -10), (36, 26)), mix(scales, BLACK, 25))
    figure.disc(-4, 8, 26, 16, scales)
    figure.polygon(((-8, -6), (6, -18), (10, -4)), mix(scales, BLACK, 25))
    figure.disc(-18, 4, 5, 5, SHINE)
    figure.disc(-18, 4, 2, 2, BLACK)
    figure.disc(-36, -14, 3, 3, (180, 200, 206))


HEADS: tuple[Head, ...] = (
    dog_head,
    dog_head,
    dog_head,
    dog_head,
    dog_head,
    fox_head,
    rabbit_head,
    rabbit_head,
    mouse_head,
    bear_head,
)


def draw_animal(figure: Figure, scene: Image.Image, dice: Dice) -> None:
    """Draw an animal other than a cat and paste it into `scene`."""
    coat = roll_coat(dice)
    if dice.chance(72):
        kind = dice.choose(HEADS)
        if kind is fox_head:
            fur, dark, light = FURS[dice.choose(("orange", "orange", "cinnamon", "white"))]
            coat = Coat(fur, dark, light, dark, "plain", coat.eyes)
        elif kind is not dog_head and coat.pattern == "tabby":
            coat = replace(coat, pattern="plain")  # a striped bear would look like a tiger, which is a cat
        furry(figure, coat, dice, kind)
    else:
        dice.choose((owl, bird, bird, fish))(figure, coat, dice)
    figure.settle(scene, coat.rim)
