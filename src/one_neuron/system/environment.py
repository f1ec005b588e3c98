"""Settings that come from the environment because no result depends on them."""

import os

from one_neuron.errors import SettingsError


def read_megabytes(variable: str, *, default: int, least: int = 0) -> int:
    """Return an environment variable that holds a number of megabytes of 2**20 bytes, as a number of bytes.

    Parameters
    ----------
    variable : str
    default : int
        Megabytes where the variable is unset or empty.
    least : int
        The smallest number of megabytes that is accepted.

    Raises
    ------
    SettingsError
        If it is not a whole number of at least `least`.
    """
    text = os.environ.get(variable, "").strip() or str(default)
    # 18 digits are more bytes than any machine has.
    megabytes = int(text[:18]) if text.isascii() and text.isdigit() else -1
    if megabytes < least:
        raise SettingsError(f"{variable} = {text!r}; expected a whole number of at least {least} (megabytes)")
    return megabytes * 2**20
