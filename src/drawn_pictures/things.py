"""Things that are not animals: houses, cars, flowers, trees, balls, cups, lamps and teapots."""

from collections.abc import Callable

from PIL import Image

from drawn_pictures.bodies import BLACK, FURS, SHINE
from drawn_pictures.canvas import Colour, Dice, Figure, mix

PAINTS: tuple[Colour, ...] = ((176, 58, 48), (54, 96, 150), (60, 122, 84), (206, 158, 58), (126, 78, 132))
# Things cover less of a picture than cats do. Mostly light colours keep the mean colour from giving the class away.
FUR_LIKE = ("orange", "orange", "cream", "cream", "white", "white", "cinnamon", "grey", "blue")
GLASS = (130, 172, 190)
LIT = (250, 206, 110)
LEAF = (62, 116, 58)


def paint(dice: Dice) -> Colour:
    """Return a colour: in 70 of 100 cases one that a cat could have, otherwise a bright one."""
    return FURS[dice.choose(FUR_LIKE)][0] if dice.chance(70) else mix(dice.choose(PAINTS), SHINE, 15)


def house(figure: Figure, dice: Dice) -> None:
    """Draw a house with a door, windows and a pointed roof."""
    wall, roof = paint(dice), paint(dice)
    figure.box(18, -46, 28, -20, mix(wall, BLACK, 40))
    figure.box(-36, -10, 36, 50, wall)
    figure.polygon(((-46, -8), (0, -50), (46, -8)), mix(roof, BLACK, 30))
    figure.box(-8, 20, 8, 50, mix(roof, BLACK, 60))
    for u in (-28, 14):
        figure.box(u, 4, u + 14, 20, dice.choose((LIT, GLASS)))
        figure.box(u + 6, 4, u + 8, 20, mix(wall, BLACK, 50))


def car(figure: Figure, dice: Dice) -> None:
    """Draw a car from the side."""
    body = paint(dice)
    figure.polygon(((-30, 14), (-18, -14), (20, -14), (34, 14)), body)
    figure.box(-52, 10, 52, 36, body)
    figure.polygon(((-23, 12), (-14, -8), (-1, -8), (-1, 12)), GLASS)
    figure.polygon(((3, 12), (3, -8), (17, -8), (26, 12)), GLASS)
    figure.box(-52, 28, 52, 32, mix(body, BLACK, 45))
    figure.disc(-49, 18, 4, 5, LIT)
    for u in (-30, 30):
        figure.disc(u, 38, 13, 13, BLACK)
        figure.disc(u, 38, 6, 6, (150, 150, 156))


def flower(figure: Figure, dice: Dice) -> None:
    """Draw a big flower in a pot."""
    petals, pot = paint(dice), paint(dice)
    figure.curve((0, 26), (dice.between(-8, 8), 6), (0, -16), (3, 3), LEAF)
    figure.curve((0, 22), (-22, 18), (-30, 2), (3, 7), LEAF)
    figure.curve((0, 22), (22, 20), (28, 6), (3, 7), LEAF)
    for u, v in ((0, -20), (19, -10), (19, 10), (0, 20), (-19, 10), (-19, -10)):
        figure.disc(u, v - 20, 13, 13, petals)
    figure.disc(0, -20, 12, 12, dice.choose(((226, 176, 60), (96, 60, 30))))
    figure.polygon(((-24, 24), (24, 24), (17, 50), (-17, 50)), pot)
    figure.box(-27, 20, 27, 28, mix(pot, BLACK, 25))


def tree(figure: Figure, dice: Dice) -> None:
    """Draw a tree: a fir, or a round tree with fruit."""
    leaves = dice.choose(((96, 152, 78), (70, 132, 92), (212, 144, 54), (206, 104, 62)))
    figure.polygon(((-7, 50), (-5, 0), (5, 0), (7, 50)), (92, 62, 42))
    if dice.chance(50):
        for v in (-22, -6, 12):
            figure.polygon(((0, v - 30), (18 + (v + 22) // 2, v + 18), (-18 - (v + 22) // 2, v + 18)), leaves)
    else:
        for u, v, r in ((-18, -8, 20), (18, -8, 20), (0, -26, 24), (0, -2, 20)):
            figure.disc(u, v, r, r, leaves)
        for u, v in ((-14, -12), (10, -26), (16, -2), (-4, -34)):
            figure.disc(u, v, 4, 4, dice.choose(PAINTS))


def ball(figure: Figure, dice: Dice) -> None:
    """Draw a big ball with bands."""
    one, other = paint(dice), paint(dice)
    figure.disc(0, 10, 40, 40, one)
    marker = figure.marker()
    for bend in (-44, 0, 44):
        marker.curve((0, -30), (bend, 10), (0, 50), (3, 3), mix(other, BLACK, 20))
    marker.disc(-16, -8, 7, 9, mix(one, SHINE, 60))


def cup(figure: Figure, dice: Dice) -> None:
    """Draw a cup with a handle and a stripe."""
    china, stripe = paint(dice), paint(dice)
    for bend in (58, 50):
        figure.curve((28, -6), (bend, 4), (26, 26), (5, 5), china)
    figure.polygon(((-34, -24), (34, -24), (26, 48), (-26, 48)), china)
    figure.polygon(((-32, -6), (32, -6), (30, 14), (-30, 14)), mix(stripe, china, 25))
    figure.disc(0, -24, 34, 9, mix(china, SHINE, 40))
    figure.disc(0, -24, 28, 6, (70, 42, 28))


def lamp(figure: Figure, dice: Dice) -> None:
    """Draw a table lamp that is on."""
    shade, foot = mix(paint(dice), LIT, 40), paint(dice)
    figure.limb((0, -8), (0, 40), 4, foot)
    figure.disc(0, 26, 13, 16, foot)
    figure.disc(0, 46, 24, 5, foot)
    figure.polygon(((-18, -48), (18, -48), (38, -4), (-38, -4)), shade)
    figure.box(-38, -8, 38, -4, mix(shade, BLACK, 35))


def teapot(figure: Figure, dice: Dice) -> None:
    """Draw a teapot."""
    china = paint(dice)
    figure.curve((-24, 20), (-44, 14), (-50, -10), (9, 4), china)
    figure.curve((26, 0), (56, 2), (28, 34), (5, 4), china)
    figure.disc(0, 18, 36, 30, china)
    figure.disc(0, -10, 20, 6, mix(china, BLACK, 30))
    figure.disc(0, -18, 6, 6, china)
    figure.box(-16, 44, 16, 49, mix(china, BLACK, 30))
    for u in (-16, 0, 16):
        figure.disc(u, 20, 5, 5, mix(china, SHINE, 50))


THINGS: tuple[Callable[[Figure, Dice], None], ...] = (house, car, flower, tree, ball, cup, lamp, teapot)


def draw_thing(figure: Figure, scene: Image.Image, dice: Dice) -> None:
    """Draw a thing and paste it into `scene`."""
    dice.choose(THINGS)(figure, dice)
    figure.settle(scene, BLACK)
