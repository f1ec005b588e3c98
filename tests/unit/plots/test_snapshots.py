"""Pictures of w over time: right colours, one scale, no picture of an earlier training."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from one_neuron.neuron import Parameters
from one_neuron.plots.snapshots import PICTURES, draw_snapshots
from one_neuron.storage.model import Model

MakeModel = Callable[..., Model]


def names(folder: Path) -> list[str]:
    """Return the names of all files in a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_colours_have_one_scale(make_model: MakeModel, tmp_path: Path) -> None:
    """By hand: grey for 0, white and black for the largest weight of all iterations, a quarter of it in between."""
    w = np.zeros((3, 2, 2, 3))
    w[1, 0, 1] = [0.25, -0.25, 0.5]
    w[2, 1, 0] = [1.0, -1.0, 0.0]
    snapshots = {n: Parameters(w=part.ravel(), b=0.0) for n, part in zip((0, 7, 1_000_000), w, strict=True)}
    draw_snapshots(tmp_path / "weights", tmp_path / "strip.png", snapshots, make_model())
    assert names(tmp_path / "weights") == ["000000.png", "000007.png", "1000000.png"]
    pictures = {}
    for name in names(tmp_path / "weights"):
        with Image.open(tmp_path / "weights" / name) as image:
            assert image.size == (256, 256)
            pictures[name] = np.asarray(image)
    assert (pictures["000000.png"] == 128).all()
    assert (pictures["000007.png"][:128, 128:] == [159, 96, 191]).all()
    assert (pictures["000007.png"][:128, :128] == 128).all()
    assert (pictures["1000000.png"][128:, :128] == [255, 0, 128]).all()


@pytest.mark.parametrize(("num_px", "side"), [(1, 256), (64, 256), (100, 300), (256, 256), (300, 300)])
def test_sizes(num_px: int, side: int, make_model: MakeModel, tmp_path: Path) -> None:
    """Enlarged by a whole factor to at least 256 pixels; the strip is a thousand pixels wide."""
    model = make_model(num_px=num_px)
    draw_snapshots(tmp_path / "weights", tmp_path / "strip.png", {0: model.parameters, 3: model.parameters}, model)
    with Image.open(tmp_path / "weights" / "000003.png") as image:
        assert image.size == (side, side)
    with Image.open(tmp_path / "strip.png") as image:
        assert image.width >= 1000
        # The second picture is where it should be: not white, unlike the place of a third one.
        shown = np.asarray(image.convert("RGB"))[50:80].reshape(30, -1, 3)
        assert (shown[:, 150:200] != 255).any()
        assert (shown[:, 300:] == 255).all()


def test_pictures_are_spread_over_the_snapshots(make_model: MakeModel, tmp_path: Path) -> None:
    """Eight of twenty, the first and the last included; those of an earlier training are deleted, other files stay."""
    model = make_model()
    (tmp_path / "weights").mkdir()
    for name in ("000005.png", "notes.txt"):
        (tmp_path / "weights" / name).write_bytes(b"")
    draw_snapshots(tmp_path / "weights", tmp_path / "strip.png", dict.fromkeys(range(20), model.parameters), model)
    expected = [f"{n:06}.png" for n in (0, 2, 5, 8, 10, 13, 16, 19)]
    assert names(tmp_path / "weights") == [*expected, "notes.txt"]
    assert len(expected) == PICTURES
    first = (tmp_path / "strip.png").read_bytes()
    draw_snapshots(tmp_path / "weights", tmp_path / "strip.png", dict.fromkeys(range(20), model.parameters), model)
    assert (tmp_path / "strip.png").read_bytes() == first


def test_weights_of_zero_are_grey(make_model: MakeModel, tmp_path: Path) -> None:
    """Without a division by zero."""
    zeros = Parameters(w=np.zeros(12), b=0.0)
    draw_snapshots(tmp_path / "weights", tmp_path / "strip.png", {0: zeros, 1: zeros}, make_model())
    with Image.open(tmp_path / "weights" / "000001.png") as image:
        assert (np.asarray(image) == 128).all()
