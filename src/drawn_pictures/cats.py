"""Cats: faces with pointed ears, slit pupils and whiskers, in several poses."""

from collections.abc import Callable

from PIL import Image

from drawn_pictures.bodies import (
    BLACK,
    PINK,
    SHINE,
    Coat,
    chin_shadow,
    collar,
    dress,
    lying,
    roll_coat,
    sitting,
    tail,
    walking,
)
from drawn_pictures.canvas import Dice, Figure, Pen, mix


def ears(pen: Pen, coat: Coat, *, inside: bool) -> None:
    """Draw two upright pointed ears, seen from the front (`inside`) or from behind.

    From behind they are mixed with the colour of the fur: dark ears would vanish against a dark background.
    """
    pen.pair(((-100, -20), (-92, -142), (-14, -74)), coat.ends if inside else mix(coat.ends, coat.fur, 50))
    if inside:
        pen.pair(((-86, -50), (-82, -118), (-36, -78)), mix(PINK, coat.dark, 30))


def markings(pen: Pen, coat: Coat) -> None:
    """Draw the coat's pattern on the face."""
    marker = pen.marker()
    if coat.pattern == "tabby":
        for u in (-30, 0, 30):
            marker.curve((u, -90), (u * 3 // 4, -70), (u // 2, -44), (9, 3), coat.dark)
        for v in (5, 30):
            marker.curve((-108, v), (-90, v + 4), (-72, v + 8), (7, 2), coat.dark)
            marker.curve((108, v), (90, v + 4), (72, v + 8), (7, 2), coat.dark)
    elif coat.pattern == "patches":
        marker.disc(-62, -40, 56, 54, coat.spot)
        marker.disc(70, -56, 40, 42, BLACK)
    elif coat.pattern == "tuxedo":
        marker.polygon(((0, -70), (34, 70), (-34, 70)), SHINE)
    elif coat.pattern == "points":
        marker.disc(0, 22, 62, 62, coat.dark)


def eyes(pen: Pen, coat: Coat, look: int, *, shut: bool) -> None:
    """Draw two eyes with slit pupils moved sideways by `look`, or shut eyes."""
    for side in (-1, 1):
        u = side * 44
        if shut:
            lid = BLACK if sum(coat.fur) > 200 else coat.light
            pen.curve((u - 24, -8), (u, 18), (u + 24, -8), (6, 6), lid)
            continue
        pen.disc(u, -6, 32, 30, BLACK)
        pen.disc(u, -6, 26, 25, coat.eyes)
        pen.disc(u + look, -6, 9, 23, BLACK)
        pen.disc(u + look - 8, -16, 7, 7, SHINE)


def face(pen: Pen, coat: Coat, look: int, *, shut: bool = False) -> None:
    """Draw a cat's head of radius 100 around the pen's origin."""
    chin_shadow(pen, coat)
    ears(pen, coat, inside=True)
    pen.pair(((-80, 10), (-126, 50), (-40, 78)), coat.fur)
    pen.disc(0, 0, 108, 90, coat.fur)
    markings(pen, coat)
    eyes(pen, coat, look, shut=shut)
    muzzle = mix(coat.dark, coat.light, 30) if coat.pattern == "points" else coat.light
    pen.two(20, 48, 30, 25, muzzle)
    pen.pair(((0, 22), (-17, 22), (0, 42)), mix(PINK, coat.dark, 25))
    pen.limb((0, 42), (0, 54), 3, BLACK)
    pen.curve((-22, 58), (-8, 70), (0, 54), (3, 3), BLACK)
    pen.curve((22, 58), (8, 70), (0, 54), (3, 3), BLACK)


def whiskers(pen: Pen, coat: Coat) -> None:
    """Draw the whiskers, which extend beyond the outline of the head."""
    colour = SHINE if sum(coat.fur) < 560 else mix(coat.dark, BLACK, 30)
    for v, end in ((42, 20), (52, 54), (62, 86)):
        pen.pair(((-36, v - 3), (-150, end), (-36, v + 3)), colour)


def back_of_head(pen: Pen, coat: Coat) -> None:
    """Draw a head seen from behind."""
    chin_shadow(pen, coat)
    ears(pen, coat, inside=False)
    pen.disc(0, 0, 104, 90, coat.fur)
    marker = pen.marker()
    if coat.pattern == "tabby":
        for u in (-40, 0, 40):
            marker.curve((u, -80), (u, -40), (u // 2, 30), (10, 5), coat.dark)
    elif coat.pattern == "patches":
        marker.disc(-50, -30, 56, 60, coat.spot)


def head(figure: Figure, coat: Coat, dice: Dice, place: tuple[int, int, int], *, naps: bool = False) -> Pen:
    """Draw a face at `place` (u, v, radius), and return its pen, with which the whiskers are drawn later."""
    pen = figure.within(*place)
    face(pen, coat, dice.between(-8, 8), shut=naps)
    return pen


def sits(figure: Figure, coat: Coat, dice: Dice) -> Pen:
    """Draw a cat that sits and faces the viewer."""
    tail(figure, coat, ((20, 42), (58, 46), (dice.between(36, 52), dice.between(-4, 20))), 6)
    sitting(figure, coat)
    pen = head(figure, coat, dice, (dice.between(-3, 3), -20, dice.between(19, 21)))
    collar(figure, dice)
    return pen


def close_up(figure: Figure, coat: Coat, dice: Dice) -> Pen:
    """Draw a face that fills the picture."""
    figure.disc(0, 62, 46, 40, coat.fur)
    dress(figure.within(0, 64, 100), coat, 44, 30)
    figure.disc(0, 56, 18, 34, coat.chest)
    return head(figure, coat, dice, (0, 4, dice.between(36, 40)), naps=dice.chance(10))


def walks(figure: Figure, coat: Coat, dice: Dice) -> Pen:
    """Draw a cat that walks, with its tail in the air."""
    tail(figure, coat, ((34, 4), (58, -2), (dice.between(40, 56), dice.between(-46, -34))), 5)
    walking(figure, coat, dice.between(0, 7))
    return head(figure, coat, dice, (-36, dice.between(-18, -12), dice.between(17, 20)))


def lies(figure: Figure, coat: Coat, dice: Dice) -> Pen:
    """Draw a cat lying on its folded paws, sometimes asleep."""
    lying(figure, coat)
    tail(figure, coat, ((46, 34), (44, 52), (2, 45)), 5)
    return head(figure, coat, dice, (-26, dice.between(4, 9), dice.between(20, 23)), naps=dice.chance(35))


def turns_away(figure: Figure, coat: Coat, dice: Dice) -> Pen | None:
    """Draw a cat that sits with its back to the viewer."""
    figure.disc(0, 24, 27, 26, coat.fur)
    figure.disc(0, 2, 18, 24, coat.fur)
    dress(figure.within(0, 16, 100), coat, 26, 34)
    tail(figure, coat, ((4, 46), (50, 54), (dice.between(40, 50), dice.between(8, 30))), 6)
    back_of_head(figure.within(dice.between(-3, 3), -24, 20), coat)
    return None


def peeks(figure: Figure, coat: Coat, dice: Dice) -> Pen:
    """Draw a cat that looks out of a box."""
    board = dice.choose(((150, 104, 60), (120, 84, 52), (96, 70, 84)))
    figure.box(-40, 12, 40, 30, mix(board, BLACK, 60))
    figure.disc(0, 26, 22, 24, coat.fur)
    pen = head(figure, coat, dice, (0, -6, dice.between(25, 28)))
    figure.polygon(((-42, 22), (42, 22), (38, 50), (-38, 50)), board)
    figure.polygon(((-42, 20), (-54, 30), (-50, 34), (-40, 26)), mix(board, SHINE, 20))
    figure.polygon(((42, 20), (54, 30), (50, 34), (40, 26)), mix(board, SHINE, 20))
    figure.two(14, 23, 8, 6, coat.paws)
    return pen


# How often each pose occurs: mostly facing the viewer, as in photographs of cats.
POSES: tuple[Callable[[Figure, Coat, Dice], Pen | None], ...] = (
    *(sits,) * 4, *(close_up,) * 4, walks, lies, lies, turns_away, peeks,
)  # fmt: skip


def draw_cat(figure: Figure, scene: Image.Image, dice: Dice) -> None:
    """Draw a cat and paste it into `scene`."""
    coat = roll_coat(dice)
    seen_face = dice.choose(POSES)(figure, coat, dice)
    figure.settle(scene, coat.rim)
    if seen_face is not None:
        whiskers(seen_face.on(scene), coat)
