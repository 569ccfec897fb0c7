"""Damaged pictures of every kind: no crash, no exception that is not ours, nothing told of what is inside."""

from pathlib import Path

import numpy as np
import pytest

from shared.data import images
from shared.data.decoding.pool import Decoder, Limits
from tests.fuzz.damage import damaged
from tests.fuzz.pictures import fuzz, outcome
from tests.fuzz.whole import whole_files

FILES, SEED = 10_000, 12


@pytest.mark.timeout(1800)  # alone it takes about two minutes
def test_ten_thousand_damaged_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is read or refused with one of our words, and every kind of file is hurt."""
    for name in ("PICTURES", "DICOM_FILES"):
        openers = getattr(images, name)._openers
        monkeypatch.setattr(
            images, name, Decoder(openers, Limits(cpu_seconds=10))
        )  # small files: seconds sooner
    found = fuzz(FILES, SEED, tmp_path, tmp_path / "broken")
    assert found.broken == []
    assert found.num_files == 10_000
    words = {word for counts in found.words.values() for word in counts}
    assert {"read", "image_unreadable", "image_no_pixels", "mask_unreadable"} <= words
    for kind, counts in found.words.items():
        assert sum(counts.values()) - counts["read"] > 20, kind  # the damage hurts every kind of file


def test_whole_files_are_read(tmp_path: Path) -> None:
    """What is damaged is a picture before: each whole file is read by the same code."""
    paths = list(whole_files(tmp_path))
    assert {outcome(path) for path in paths} == {("read", "")}
    assert len(paths) > 40


def test_damage_is_repeatable_and_damages(tmp_path: Path) -> None:
    """One seed gives the same bytes each time, and nearly always other bytes than before."""
    whole = next(whole_files(tmp_path)).read_bytes()
    made = [damaged(whole, np.random.default_rng(seed)) for seed in range(100)]
    assert made == [damaged(whole, np.random.default_rng(seed)) for seed in range(100)]
    assert sum(one != whole for one in made) > 90
