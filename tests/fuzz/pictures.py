"""Feed damaged pictures of every kind to what reads them, and see what comes back.

`python -m tests.fuzz.pictures --files 100000 --seed 1` tells outcomes by kind of file; those that break a rule are kept
in a folder with the word for it, and the exit status is 1. `make fuzz` is the same.
"""

import argparse
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from shared.config.study import Task
from shared.data.image_problems import PROBLEMS, ImageError
from shared.data.images import load_mask, load_pixels
from shared.data.patients import ImageRecord
from tests.dicom_files import PLANTED
from tests.fuzz.damage import damaged
from tests.fuzz.whole import whole_files

TASK = Task(classes=("normal", "pneumonia"), image_size=32)
MASK_SHARE = 0.1  # of the pictures that Pillow reads are read as masks as well


@dataclass
class Outcomes:
    """What came of damaged files: words by kind of file, and the names of those that broke a rule."""

    words: dict[str, Counter[str]] = field(default_factory=dict)
    broken: list[tuple[Path, str]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def num_files(self) -> int:
        """All files that were tried."""
        return sum(sum(counts.values()) for counts in self.words.values())

    def total(self, word: str) -> int:
        """How often a word came back."""
        return sum(counts[word] for counts in self.words.values())


def fuzz(num_files: int, seed: int, scratch: Path, keep: Path) -> Outcomes:
    """Damage `num_files` files in turn, read each, and keep in `keep` what broke a rule.

    The rules: what comes back is pixels of the study's size or an error with one of our words, whose text holds nothing
    that was planted in the file. That this process goes on is seen by the next file.
    """
    wholes = list(whole_files(scratch / "whole"))
    found, started = Outcomes({path.name: Counter() for path in wholes}), time.monotonic()
    for number, path in _in_turn(wholes, num_files):
        rng = np.random.default_rng((seed, number))
        file = scratch / f"damaged{path.suffix}"
        file.write_bytes(damaged(path.read_bytes(), rng))
        as_mask = path.suffix != ".dcm" and rng.random() < MASK_SHARE
        word, broke = outcome(file, path if as_mask else None)
        found.words[path.name][word] += 1
        if broke:
            keep.mkdir(parents=True, exist_ok=True)
            kept = keep / f"{seed}-{number}-{path.name}"
            kept.write_bytes(file.read_bytes())
            found.broken.append((kept, broke))
    found.seconds = time.monotonic() - started
    return found


def outcome(file: Path, image: Path | None = None) -> tuple[str, str]:
    """Read a file, as the mask of `image` where that is given; returns a word, and what rule was broken or ""."""
    record = ImageRecord(image or file, 0, "s", "p", "", file if image else None, text_rule="allow")
    try:
        read = load_mask(record, TASK) if image else load_pixels(record, TASK)
    except ImageError as error:
        said = "".join(traceback.format_exception(error))
        told = [planted for planted in PLANTED if planted in said]
        broke = (
            f"tells {told}" if told else "" if error.kind in PROBLEMS else f"{error.kind} is no word of ours"
        )
        return error.kind, broke
    except Exception as error:  # noqa: BLE001 - which is what is looked for
        return type(error).__name__, f"raises {error!r}"
    fits = read is not None and read.shape[:2] == (TASK.image_size, TASK.image_size)
    return "read", "" if fits else "has another shape"


def _in_turn(wholes: list[Path], num_files: int) -> Iterator[tuple[int, Path]]:
    for number in range(num_files):
        yield number, wholes[number % len(wholes)]


def main() -> int:
    """Run from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=100_000, help="damaged files to try")
    parser.add_argument("--seed", type=int, default=0, help="another seed damages otherwise")
    parser.add_argument(
        "--keep", type=Path, default=Path("results/fuzz"), help="where files that broke a rule go"
    )
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        found = fuzz(chosen.files, chosen.seed, Path(scratch), chosen.keep)
    for name, counts in found.words.items():
        print(f"{name:55} {dict(counts.most_common())}")
    for file, broke in found.broken:
        print(f"{file}: {broke}")
    died = found.total("image_decoder") + found.total("mask_decoder")
    print(
        f"seed {chosen.seed}: {found.num_files} files in {found.seconds:.0f} s, {found.total('read')} read, in {died} "
        f"the decoder died or was stopped, crashes of this process 0, rules broken {len(found.broken)}"
    )
    return int(bool(found.broken))


if __name__ == "__main__":
    sys.exit(main())
