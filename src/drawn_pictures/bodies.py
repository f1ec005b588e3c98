"""Coats and bodies that cats share with the animals that could be mistaken for one."""

from dataclasses import dataclass

from drawn_pictures.canvas import Colour, Dice, Pen, mix

PINK = (206, 120, 120)
BLACK = (14, 12, 16)
SHINE = (250, 250, 244)

# name: fur, marks, light parts
FURS: dict[str, tuple[Colour, Colour, Colour]] = {
    "orange": ((216, 122, 42), (146, 66, 18), (244, 206, 152)),
    "grey": ((118, 122, 130), (66, 70, 80), (192, 196, 202)),
    "black": ((40, 38, 44), (18, 16, 20), (96, 94, 104)),
    "white": ((228, 224, 216), (150, 144, 138), (250, 248, 244)),
    "brown": ((124, 82, 50), (66, 40, 24), (200, 164, 124)),
    "cream": ((226, 192, 142), (164, 112, 70), (248, 232, 204)),
    "blue": ((90, 102, 124), (52, 60, 78), (164, 174, 190)),
    "cinnamon": ((170, 98, 62), (104, 52, 30), (226, 180, 144)),
}
PATTERNS = ("plain", "tabby", "tabby", "patches", "tuxedo", "points")
EYES: tuple[Colour, ...] = ((150, 190, 60), (224, 178, 40), (110, 170, 90), (214, 140, 40))
BLUE_EYES = (90, 160, 220)
SEAL = (92, 58, 40)
COLLARS: tuple[Colour, ...] = ((186, 44, 44), (44, 96, 170), (60, 130, 84), (190, 90, 150))


@dataclass(frozen=True)
class Coat:
    """The colours of an animal and their pattern."""

    fur: Colour
    dark: Colour
    light: Colour
    spot: Colour
    pattern: str
    eyes: Colour

    @property
    def ends(self) -> Colour:
        """Ears and tail: dark in a coat with points."""
        return self.dark if self.pattern == "points" else self.fur

    @property
    def paws(self) -> Colour:
        """Paws: white in a tuxedo coat."""
        return SHINE if self.pattern == "tuxedo" else mix(self.ends, self.light, 25)

    @property
    def chest(self) -> Colour:
        """Chest: white in a tuxedo coat."""
        return SHINE if self.pattern == "tuxedo" else mix(self.fur, self.light, 45)

    @property
    def rim(self) -> Colour:
        """Outline of the animal, visible against its fur and most backgrounds."""
        return mix(self.dark, BLACK, 55) if sum(self.fur) > 200 else mix(self.light, self.fur, 25)


def roll_coat(dice: Dice) -> Coat:
    """Return a random coat."""
    name = dice.choose(tuple(FURS))
    pattern = dice.choose(PATTERNS)
    if pattern == "points":
        name = dice.choose(("cream", "white"))
    elif pattern == "tuxedo":
        name = dice.choose(("black", "black", "grey", "blue", "brown"))
    elif pattern == "patches":
        name = dice.choose(("white", "white", "cream"))
    fur, dark, light = FURS[name]
    if pattern == "points":
        dark = SEAL
    spot = FURS[dice.choose(("orange", "black", "brown", "grey"))][0]
    eyes = BLUE_EYES if pattern == "points" or dice.chance(8) else dice.choose(EYES)
    return Coat(fur, dark, light, spot, pattern, eyes)


def dress(pen: Pen, coat: Coat, width: int, height: int) -> None:
    """Draw the coat's pattern on a body that extends `width` and `height` to each side of the pen's origin."""
    marker = pen.marker()
    if coat.pattern == "tabby":
        for step in (-2, -1, 0, 1, 2):
            u = step * width * 2 // 5
            bend = u + step * width // 10
            marker.curve((u, -height), (bend, -height // 2), (bend, height // 5), (width // 10, 1), coat.dark)
    elif coat.pattern == "patches":
        marker.disc(-width * 3 // 5, -height // 2, width // 2, height // 2, coat.spot)
        marker.disc(width // 2, height // 5, width * 2 // 5, height // 2, BLACK)
        marker.disc(width // 5, -height * 4 // 5, width // 3, height // 3, coat.spot)


def tail(pen: Pen, coat: Coat, points: tuple[tuple[int, int], tuple[int, int], tuple[int, int]], width: int) -> None:
    """Draw a tail along the quadratic curve that the three points define."""
    colour = coat.spot if coat.pattern == "patches" else coat.ends
    pen.curve(*points, (width, width * 3 // 4), colour)
    if coat.pattern in ("tabby", "tuxedo"):
        (_, _), (ub, vb), (uc, vc) = points
        tip = coat.dark if coat.pattern == "tabby" else SHINE
        near = (ub + 4 * uc) // 5, (vb + 4 * vc) // 5
        pen.limb(near, (uc, vc), width * 3 // 4, tip)


def sitting(pen: Pen, coat: Coat) -> None:
    """Draw a sitting body that faces the viewer; the head belongs at (0, -20)."""
    pen.disc(0, 24, 27, 26, coat.fur)
    pen.disc(0, 4, 18, 24, coat.fur)
    dress(pen.within(0, 18, 100), coat, 26, 26)
    pen.two(20, 38, 11, 12, mix(coat.fur, coat.dark, 22))
    pen.disc(0, 8, 9, 17, coat.chest)
    for side in (-1, 1):
        pen.limb((side * 7, 16), (side * 8, 44), 6, coat.fur)
        pen.disc(side * 9, 47, 8, 5, coat.paws)
    pen.marker().limb((0, 26), (0, 44), 1, coat.dark)
    pen.two(24, 48, 9, 4, coat.paws)


def chin_shadow(pen: Pen, coat: Coat) -> None:
    """Darken the fur just below a head of radius 100, so that the head stands out from the body."""
    pen.marker().disc(0, 14, 106, 88, mix(coat.fur, BLACK, 24))


def collar(pen: Pen, dice: Dice) -> None:
    """Draw a collar with a bell below the head of a sitting animal, in 40 of 100 cases."""
    if dice.chance(40):
        marker = pen.marker()
        marker.curve((-15, -4), (0, 8), (15, -4), (2, 2), dice.choose(COLLARS))
        marker.disc(0, 5, 4, 4, (226, 184, 66))


def walking(pen: Pen, coat: Coat, stride: int) -> None:
    """Draw a body that walks to the left; the head belongs at (-36, -14) and the tail at (34, 2)."""
    far = mix(coat.fur, coat.dark, 50)
    for u, lean in ((-16, stride), (24, -stride)):
        pen.limb((u, 16), (u + lean, 46), 5, far)
    pen.disc(0, 6, 36, 15, coat.fur)
    pen.disc(-22, 5, 15, 17, coat.fur)
    pen.disc(24, 6, 16, 17, coat.fur)
    dress(pen.within(2, 6, 100), coat, 34, 17)
    pen.marker().disc(0, 20, 26, 5, coat.chest)
    for u, lean in ((-25, -stride), (30, stride)):
        pen.limb((u, 14), (u + lean, 45), 6, coat.fur)
        pen.disc(u + lean - 3, 47, 8, 4, coat.paws)


def lying(pen: Pen, coat: Coat) -> None:
    """Draw a body that rests on its folded paws; the head belongs at (-26, 2)."""
    pen.disc(6, 26, 46, 22, coat.fur)
    pen.disc(22, 20, 28, 24, coat.fur)
    dress(pen.within(14, 22, 100), coat, 36, 24)
    pen.marker().disc(30, 36, 18, 12, mix(coat.fur, coat.dark, 25))
    pen.disc(-26, 32, 16, 15, coat.chest)
    pen.disc(-34, 45, 13, 5, coat.paws)
    pen.disc(-12, 46, 13, 5, coat.paws)
