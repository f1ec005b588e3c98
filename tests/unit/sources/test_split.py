"""Which pictures are held out: by content, seeded, in each class."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from one_neuron.sources.split import choose_test


def digests_of(*texts: str) -> list[bytes]:
    """Return digests as of files with these contents."""
    return [hashlib.sha256(text.encode()).digest() for text in texts]


def test_the_rule_by_hand() -> None:
    """SHA-256 of the seed, a colon and the digest: the first 64 bits as a fraction of 1, below the limit: held out."""
    digests = digests_of(*(f"picture {i}" for i in range(50)))
    places = [int(hashlib.sha256(b"7:" + digest).hexdigest()[:16], 16) / 16**16 for digest in digests]
    held_out = choose_test(digests, np.zeros(50, dtype=int), fraction=0.3, seed=7)
    assert held_out.tolist() == [place < 0.3 for place in places]
    assert 5 < held_out.sum() < 25


def test_large_numbers_come_out_as_asked() -> None:
    """10,000 pictures of two classes: within four standard deviations in each."""
    digests = digests_of(*map(str, range(10_000)))
    groups = np.arange(10_000) % 2
    held_out = choose_test(digests, groups, fraction=0.2, seed=1)
    for group in (0, 1):
        assert abs(held_out[groups == group].sum() - 1000) < 4 * (5000 * 0.2 * 0.8) ** 0.5


@pytest.mark.parametrize("fraction", [1e-9, 1 - 2**-53])
def test_each_class_has_pictures_on_both_sides(fraction: float) -> None:
    """For any fraction; a class of one picture is not divided."""
    digests, groups = digests_of(*"abcdefg"), np.array([0, 0, 0, 1, 1, 1, 2])
    held_out = choose_test(digests, groups, fraction=fraction, seed=1)
    for group in (0, 1):
        assert held_out[groups == group].sum() == (1 if fraction < 0.5 else 2)
    assert held_out[6] == (fraction > 0.5)


@pytest.mark.parametrize("fraction", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("contents", ["ab ac", "abc bcd", "abx acx ad"])
def test_classes_that_share_copies_are_all_divided(contents: str, fraction: float) -> None:
    """What is moved for one class is not missing in another."""
    pictures = [(text, group) for group, texts in enumerate(contents.split()) for text in texts]
    groups = np.array([group for _, group in pictures])
    for seed in range(300):
        held_out = choose_test(digests_of(*(text for text, _ in pictures)), groups, fraction=fraction, seed=seed)
        for group in set(groups.tolist()):
            assert 0 < held_out[groups == group].sum() < (groups == group).sum()


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 2)), min_size=1, max_size=60), st.integers(0, 2**63 - 1))
def test_copies_are_never_on_both_sides(pictures: list[tuple[int, int]], seed: int) -> None:
    """Nor across classes, and the order of the files changes nothing."""
    digests = digests_of(*(str(content) for content, _ in pictures))
    groups = np.array([group for _, group in pictures])
    held_out = choose_test(digests, groups, fraction=0.3, seed=seed)
    for content in range(21):
        assert len({bool(one) for one, (other, _) in zip(held_out, pictures, strict=True) if other == content}) <= 1
    backwards = choose_test(digests[::-1], groups[::-1], fraction=0.3, seed=seed)
    assert backwards[::-1].tolist() == held_out.tolist()
