"""Fixtures of the tests of plots."""

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Return a list to which every figure that is saved is added."""
    saved: list[Figure] = []
    save = FigureCanvasAgg.print_png

    def record(canvas: FigureCanvasAgg, *arguments: object, **options: object) -> None:
        saved.append(canvas.figure)
        save(canvas, *arguments, **options)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(FigureCanvasAgg, "print_png", record)
    return saved
