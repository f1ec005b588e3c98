"""How a picture becomes the pixels that the neuron sees: the one value shared by training and prediction.

The code that follows it is in `convert` (resizing) and `reader` (decoding).
"""

from dataclasses import dataclass

from one_neuron.errors import DataError

CHANNELS = 3  # RGB
MAX_NUM_PX = 1024
RESIZES = ("stretch", "crop", "pad")
DECODES = ("exact", "fast")


@dataclass(frozen=True)
class Preprocessing:
    """Size and treatment of all pictures of a data set, and of every new picture that its model sees.

    Parameters
    ----------
    num_px : int
        Height and width that a picture is resized to, 1 to 1,024.
    resize : {"stretch", "crop", "pad"}
        "stretch" distorts a picture that is not square, as the course did. "crop" takes the largest square from the
        middle. "pad" keeps the whole picture and its aspect ratio, on a white background.
    decode : {"exact", "fast"}
        "fast" decodes a large JPEG at a half, a quarter or an eighth of its size, never below what is needed.

    Raises
    ------
    DataError
        If a value is not one of these.

    Examples
    --------
    >>> Preprocessing(64).n_x
    12288
    """

    num_px: int
    resize: str = "stretch"
    decode: str = "exact"

    def __post_init__(self) -> None:
        if type(self.num_px) is not int or not 1 <= self.num_px <= MAX_NUM_PX:
            raise DataError(f"num_px is {self.num_px!r}; expected a whole number from 1 to {MAX_NUM_PX:,}")
        for key, value, known in (("resize", self.resize, RESIZES), ("decode", self.decode, DECODES)):
            if value not in known:
                raise DataError(f"{key} is {value!r}; expected {' or '.join(known)}")

    @property
    def n_x(self) -> int:
        """Number of pixel values of one picture: num_px * num_px * 3."""
        return self.num_px * self.num_px * CHANNELS
