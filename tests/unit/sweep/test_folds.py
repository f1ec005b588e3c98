"""Folds are stratified, balanced, and the same for a seed everywhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from one_neuron.errors import DataError
from one_neuron.storage.prepared_set import PreparedSet, save_prepared
from one_neuron.sweep.compose import SweepSettings
from one_neuron.sweep.folds import assign_folds
from one_neuron.sweep.jobs import find_folds
from one_neuron.sweep.prepared_data import DataFiles


def count(Y: NDArray[Any], assigned: NDArray[np.int64], folds: int) -> NDArray[np.int64]:
    """Return the number of pictures of each class in each fold, of shape (2, folds), counted one by one."""
    table = np.zeros((2, folds), np.int64)
    for label, fold in zip(Y.tolist(), assigned.tolist(), strict=True):
        table[int(label), fold] += 1
    return table


@given(
    folds=st.integers(2, 12),
    spare=st.tuples(st.integers(0, 40), st.integers(0, 40)),
    seed=st.integers(0, 2**63 - 1),
    order=st.randoms(use_true_random=False),
)
def test_every_fold_looks_like_the_whole(folds: int, spare: tuple[int, int], seed: int, order: Any) -> None:
    """Sizes differ by at most one picture, in each class and in all, as in scikit-learn; folds have both classes."""
    labels = [0] * (folds + spare[0]) + [1] * (folds + spare[1])
    order.shuffle(labels)
    Y = np.array(labels, np.uint8)
    assigned = assign_folds(Y, folds=folds, seed=seed)
    assert assigned.shape == Y.shape
    assert assigned.dtype == np.int64
    table = count(Y, assigned, folds)
    assert table.min() >= 1
    assert np.ptp(table, axis=1).max() <= 1
    assert np.ptp(table.sum(axis=0)) <= 1
    theirs = np.zeros(len(Y), np.int64)
    for fold, (_, held_out) in enumerate(StratifiedKFold(folds, shuffle=True, random_state=0).split(Y, Y)):
        theirs[held_out] = fold
    assert np.sort(table, axis=1).tolist() == np.sort(count(Y, theirs, folds), axis=1).tolist()


def test_the_folds_of_a_seed_never_change() -> None:
    """Assigned by hand in the order of the numbers of PCG64, whose first ones are checked."""
    stream = np.random.PCG64(1).random_raw(3)
    assert stream.tolist() == [9441442522235856127, 17532960557476522086, 2659275481604167885]
    Y = np.array([0, 1, 1, 0, 0, 1, 0, 0, 1, 0, 1, 0])
    assert assign_folds(Y, folds=3, seed=1).tolist() == [0, 2, 1, 0, 1, 2, 2, 2, 0, 0, 1, 1]


def test_another_seed_deals_otherwise_and_the_same_seed_the_same() -> None:
    """Only the seed decides."""
    Y = np.arange(60) % 2
    one, again, other = (assign_folds(Y, folds=4, seed=seed) for seed in (7, 7, 8))
    assert one.tolist() == again.tolist()
    assert one.tolist() != other.tolist()


def test_pictures_are_shuffled() -> None:
    """Over many seeds each picture is in each fold about equally often, within 6 standard deviations."""
    Y = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
    rounds = 2000
    hits = sum((assign_folds(Y, folds=2, seed=seed) for seed in range(rounds)), np.zeros(10, np.int64))
    assert np.abs(hits - rounds / 2).max() < 6 * (rounds / 4) ** 0.5


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.bool_, np.float64])
def test_labels_of_any_type_mean_the_same(dtype: type) -> None:
    """Labels may be integers, bool or floats, and are not changed."""
    Y = np.arange(20) // 7 % 2
    labels: NDArray[Any] = Y.astype(dtype)
    assert assign_folds(labels, folds=3, seed=0).tolist() == assign_folds(Y, folds=3, seed=0).tolist()
    assert labels.tolist() == Y.tolist()


def test_one_picture_of_each_class_in_each_fold() -> None:
    """The smallest allowed input."""
    Y = np.array([1, 0, 0, 1, 1, 0])
    assert count(Y, assign_folds(Y, folds=3, seed=5), 3).tolist() == [[1, 1, 1], [1, 1, 1]]


@pytest.mark.parametrize(
    ("zeros", "ones", "message"),
    [
        (9, 3, "class 1 is 3; ask for at most 3 folds, or add pictures of that class"),
        (2, 9, "class 0 is 2; ask for at most 2 folds, or add pictures of that class"),
        (9, 1, "class 1 is 1; ask for no folds (0), or add pictures of that class"),
        (0, 9, "class 0 is 0; ask for no folds (0), or add pictures of that class"),
    ],
)
def test_too_few_pictures_of_a_class(zeros: int, ones: int, message: str) -> None:
    """The message names the class, its number of pictures and the remedy."""
    with pytest.raises(DataError) as caught:
        assign_folds(np.repeat([0, 1], [zeros, ones]), folds=4, seed=0)
    assert str(caught.value) == f"sweep.folds is 4, but the number of training pictures of {message}"


@pytest.mark.parametrize("folds", [1, 0, -1])
def test_fewer_than_two_folds_are_none(folds: int) -> None:
    """With fewer than two folds no picture would be left to train on."""
    with pytest.raises(ValueError, match=f"folds is {folds}; expected at least 2"):
        assign_folds(np.array([0, 1]), folds=folds, seed=0)


HAND = np.array([0, 1, 1, 0, 0, 1, 0, 0, 1, 0, 1, 0])
DEALT = [0, 2, 1, 0, 1, 2, 2, 2, 0, 0, 1, 1]  # the folds of seed 1, see above


def test_copies_go_where_the_first_one_went() -> None:
    """Whatever their own label; the other pictures are assigned as if there were no copies."""
    Y = np.append(HAND, [0, 1, 1, 0])
    originals = np.append(np.arange(12), [0, 0, 5, 11])
    assert assign_folds(Y, folds=3, seed=1, originals=originals).tolist() == [*DEALT, 0, 0, 2, 1]


def test_without_copies_the_folds_are_what_they_were() -> None:
    """Without copies, `originals` changes nothing."""
    assert assign_folds(HAND, folds=3, seed=1, originals=np.arange(12)).tolist() == DEALT


@given(
    folds=st.integers(2, 6),
    spare=st.tuples(st.integers(0, 20), st.integers(0, 20)),
    copied=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 1)), max_size=60),
    seed=st.integers(0, 2**63 - 1),
)
def test_different_pictures_stay_even_beside_copies(
    folds: int, spare: tuple[int, int], copied: list[tuple[int, int]], seed: int
) -> None:
    """Different pictures are balanced, whatever the number and labels of copies; copies stay together."""
    Y = np.repeat([0, 1], [folds + spare[0], folds + spare[1]])
    m = len(Y)
    originals = np.append(np.arange(m), np.array([index % m for index, _ in copied], np.int64))
    labels = np.append(Y, np.array([label for _, label in copied], np.int64))
    assigned = assign_folds(labels, folds=folds, seed=seed, originals=originals)
    assert assigned.tolist() == assigned[originals].tolist()
    table = count(Y, assigned[:m], folds)
    assert table.min() >= 1
    assert np.ptp(table, axis=1).max() <= 1
    assert np.ptp(table.sum(axis=0)) <= 1


def test_copies_make_no_class_large_enough() -> None:
    """Two different pictures do not fill three folds, however often they occur."""
    Y, originals = np.array([0, 0, 0, 1, 1, 1, 1]), np.array([0, 1, 2, 3, 4, 3, 3])
    with pytest.raises(DataError, match="number of different training pictures of class 1 is 2; ask for at most 2"):
        assign_folds(Y, folds=3, seed=0, originals=originals)


def test_a_sweep_holds_copies_out_together(make_prepared: Callable[..., PreparedSet], tmp_path: Path) -> None:
    """Copies are found by their pixels in the prepared set; without folds nothing is held out."""
    plain = make_prepared(m=20)
    X = np.concatenate([plain.X, plain.X[::-1], plain.X])
    Y = np.concatenate([plain.Y, plain.Y[::-1], plain.Y])
    train = make_prepared(m=60, X=X, Y=Y)
    files = DataFiles(tmp_path / "train.h5", tmp_path / "test.h5", train.sha256, plain.sha256)
    save_prepared(files.train, train)
    save_prepared(files.test, plain)
    folds = find_folds(files, SweepSettings(folds=5, seed=3, keep_models=0, search="grid", trials=60))
    assert folds is not None
    assert folds[:20].tolist() == folds[39:19:-1].tolist() == folds[40:].tolist()
    assert np.bincount(folds).tolist() == [12] * 5
    assert find_folds(files, SweepSettings(folds=0, seed=3, keep_models=0, search="grid", trials=60)) is None
