"""Backgrounds of the pictures, and the clutter in front of them."""

from collections.abc import Callable

from drawn_pictures.bodies import BLACK, SHINE
from drawn_pictures.canvas import Colour, Dice, Pen, mix
from drawn_pictures.things import LEAF, LIT, PAINTS

# A background is 100 steps high and `wide` steps wide; its floor begins at about step 60.
DULL: tuple[Colour, ...] = ((92, 60, 54), (54, 72, 96), (66, 84, 66), (96, 82, 54), (74, 58, 88), (64, 64, 70))


def sky(pen: Pen, dice: Dice, wide: int, ground: int) -> None:
    """Fill the sky down to `ground`: day, evening or overcast, with clouds."""
    top, low = dice.choose(
        (((40, 88, 150), (112, 150, 176)), ((60, 48, 96), (190, 106, 74)), ((70, 80, 92), (112, 118, 122)))
    )
    pen.fade(0, ground, top, low)
    for _ in range(dice.below(4)):
        u, v = dice.between(0, wide), dice.between(6, 30)
        for shift in (-9, 0, 9):
            pen.disc(u + shift, v - (4 if shift == 0 else 0), 10, 6, mix(low, SHINE, 25))


def room(pen: Pen, dice: Dice, wide: int) -> None:
    """Draw a living room: a wall with a window or a picture, sometimes a sofa, and a rug."""
    wall, floor = dice.choose(DULL), dice.choose(((96, 62, 40), (74, 50, 40), (84, 76, 70)))
    pen.fade(0, 66, mix(wall, BLACK, 25), wall)
    if dice.chance(40):
        for u in range(dice.below(12), wide, 14):
            pen.box(u, 0, u + 3, 64, mix(wall, SHINE, 10))
    u = dice.between(4, max(5, wide - 36))
    pen.box(u, 8, u + 30, 42, (120, 90, 62))
    pen.box(u + 2, 10, u + 28, 40, dice.choose(((26, 34, 64), (90, 130, 160), (40, 76, 62))))
    pen.box(u + 14, 10, u + 16, 40, (120, 90, 62))
    pen.box(0, 64, wide, 100, floor)
    pen.box(0, 63, wide, 65, mix(floor, BLACK, 50))
    if dice.chance(50):
        sofa(pen, dice, dice.between(-10, wide - 40))
    pen.disc(dice.between(20, wide - 20), 90, dice.between(30, 60), 12, dice.choose(DULL))


def sofa(pen: Pen, dice: Dice, u: int) -> None:
    """Draw a sofa with its left end at u."""
    cloth = mix(dice.choose(PAINTS), BLACK, 35)
    pen.box(u, 40, u + 62, 72, cloth)
    pen.box(u - 2, 60, u + 64, 78, mix(cloth, SHINE, 10))
    for arm in (u - 2, u + 62):
        pen.disc(arm, 58, 7, 7, mix(cloth, BLACK, 20))
        pen.box(arm - 7, 58, arm + 7, 80, mix(cloth, BLACK, 20))


def kitchen(pen: Pen, dice: Dice, wide: int) -> None:
    """Draw a kitchen with cupboards and a tiled floor."""
    wood, dark, pale = dice.choose(DULL), dice.choose(((44, 48, 56), (70, 44, 40))), (128, 124, 114)
    pen.fade(0, 60, mix(wood, SHINE, 20), mix(wood, SHINE, 10))
    for u in range(-dice.below(20), wide, 26):
        pen.box(u, 22, u + 24, 60, wood)
        pen.box(u + 2, 25, u + 22, 57, mix(wood, BLACK, 18))
        pen.disc(u + 19, 40, 1, 1, SHINE)
    pen.box(0, 18, wide, 23, mix(wood, BLACK, 50))
    side = 10
    for row, v in enumerate(range(60, 100, side)):
        for column, u in enumerate(range(0, wide + side, side)):
            pen.box(u, v, u + side, v + side, dark if (row + column) % 2 else mix(pale, dark, 40))


def garden(pen: Pen, dice: Dice, wide: int) -> None:
    """Draw a garden with a fence and flowers in the grass."""
    sky(pen, dice, wide, 60)
    wood = dice.choose(((120, 104, 84), (108, 70, 48), (76, 84, 80)))
    pen.box(0, 36, wide, 39, mix(wood, BLACK, 25))
    pen.box(0, 50, wide, 53, mix(wood, BLACK, 25))
    for u in range(dice.below(10), wide, 12):
        pen.polygon(((u, 62), (u, 32), (u + 4, 27), (u + 8, 32), (u + 8, 62)), wood)
    pen.fade(58, 100, (52, 96, 50), (30, 64, 36))
    for _ in range(dice.between(4, 12)):
        u, v = dice.between(0, wide), dice.between(62, 98)
        pen.disc(u, v, 2, 2, dice.choose(PAINTS))


def street(pen: Pen, dice: Dice, wide: int) -> None:
    """Draw a street: house fronts, lit windows, a pavement and a lamp post."""
    sky(pen, dice, wide, 62)
    u = -dice.below(20)
    while u < wide:
        width, top, front = dice.between(22, 40), dice.between(4, 26), dice.choose(DULL)
        pen.box(u, top, u + width - 1, 64, front)
        for v in range(top + 5, 52, 14):
            for window in range(u + 4, u + width - 8, 10):
                pen.box(window, v, window + 5, v + 8, LIT if dice.chance(30) else mix(front, BLACK, 50))
        u += width
    pen.fade(64, 100, (84, 82, 86), (56, 54, 60))
    pen.box(0, 64, wide, 67, (112, 108, 106))
    if dice.chance(50):
        u = dice.between(6, wide - 6)
        pen.box(u - 1, 12, u + 1, 76, (26, 28, 34))
        pen.disc(u, 12, 5, 5, LIT)


def night(pen: Pen, dice: Dice, wide: int) -> None:
    """Draw roofs at night: moon, stars and a chimney."""
    pen.fade(0, 76, (12, 16, 44), (44, 50, 92))
    for _ in range(dice.between(8, 22)):
        pen.disc(dice.between(0, wide), dice.between(0, 60), 1, 1, (190, 194, 210))
    moon = dice.between(10, wide - 10)
    pen.disc(moon, 18, 10, 10, (224, 220, 186))
    pen.disc(moon + 4, 16, 9, 9, (20, 24, 56))
    tiles = dice.choose(((86, 48, 46), (60, 56, 66), (72, 64, 50)))
    u = dice.between(0, wide)
    pen.box(u, 50, u + 12, 78, mix(tiles, BLACK, 35))
    for row, v in enumerate(range(72, 102, 6)):
        pen.box(0, v, wide, v + 6, mix(tiles, BLACK, 30 if row % 2 else 45))
        for u in range(row % 2 * 6, wide, 12):
            pen.box(u, v, u + 1, v + 6, mix(tiles, BLACK, 65))


def field(pen: Pen, dice: Dice, wide: int) -> None:
    """Draw hills, a few trees and a meadow."""
    sky(pen, dice, wide, 66)
    for shade in (45, 30, 15):
        pen.disc(
            dice.between(0, wide), 80, dice.between(50, 90), dice.between(18, 36), mix((72, 112, 62), BLACK, shade)
        )
    for _ in range(dice.below(4)):
        u, v = dice.between(0, wide), dice.between(40, 62)
        pen.box(u - 1, v, u + 1, v + 12, (70, 48, 34))
        pen.disc(u, v, 6, 8, mix(LEAF, BLACK, 35))
    meadow = dice.choose(((84, 116, 50), (134, 112, 50), (54, 90, 56)))
    pen.fade(66, 100, meadow, mix(meadow, BLACK, 45))


def library(pen: Pen, dice: Dice, wide: int) -> None:
    """Draw shelves full of books above a wooden floor."""
    pen.fade(0, 72, (50, 36, 28), (42, 30, 24))
    for v in (22, 46, 70):
        u = dice.below(6)
        while u < wide:
            thick = dice.between(3, 6)
            if dice.chance(90):
                pen.box(u, v - dice.between(12, 18), u + thick - 1, v, mix(dice.choose(PAINTS), BLACK, 35))
            u += thick
        pen.box(0, v, wide, v + 2, (104, 72, 48))
    pen.fade(73, 100, (104, 70, 44), (70, 46, 32))


PLACES: tuple[Callable[[Pen, Dice, int], None], ...] = (room, room, kitchen, garden, street, night, field, library)


def clutter(pen: Pen, dice: Dice, u: int, v: int) -> None:
    """Draw one small thing standing at (u, v)."""
    kind, colour = dice.below(6), mix(dice.choose(PAINTS), BLACK, 15)
    if kind == 0:
        pen.disc(u, v - 7, 7, 7, colour)
        pen.disc(u - 2, v - 9, 2, 2, mix(colour, SHINE, 50))
    elif kind == 1:
        for side in (-9, -4, 0, 4, 9):
            pen.curve((u, v - 8), (u + side // 2, v - 20), (u + side, v - 26 + abs(side)), (1, 2), LEAF)
        pen.polygon(((u - 7, v - 11), (u + 7, v - 11), (u + 5, v), (u - 5, v)), colour)
    elif kind == 2:
        pen.box(u - 9, v - 14, u + 9, v, (134, 98, 60))
        pen.box(u - 2, v - 14, u + 2, v, (166, 132, 88))
    elif kind == 3:
        pen.disc(u, v - 5, 12, 6, colour)
    elif kind == 4:
        pen.box(u - 8, v - 4, u + 8, v, colour)
        pen.box(u - 6, v - 8, u + 9, v - 4, mix(colour, SHINE, 30))
    else:
        for side in (-6, -2, 3, 7):
            pen.polygon(((u + side - 2, v), (u + side * 2, v - 16 + abs(side)), (u + side + 2, v)), LEAF)
