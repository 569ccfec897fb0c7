"""Do the tests notice mistakes? `python -m tests.mutation.run client/ledger shared/privacy --mutants 20`.

Mistakes are drawn by a seed out of all that `mutants` makes in a package, each planted in a copy of the sources, and
the tests that mirror the package, those that name the module first, are run on it until one fails. A mistake that none
notices has survived: it is printed with its line, to be killed by a test or to be understood. Exit status 1 where fewer
than `--floor` are noticed.
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.mutation.mutants import Mutant, mutants
from tests.mutation.tested import compile_copy, load_libraries, passes

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "client/dp_sgd", "client/ledger", "client/rounds", "shared/privacy", "shared/distillation", "server/rounds",
    "server/audit",
)  # fmt: skip
PARTS = ("client", "server", "shared", "deploy", "tests", "pyproject.toml", "docs", "README.md", "Makefile")
ALSO = {  # what else holds a package to its words, beside the tests that mirror it
    "client/dp_sgd": ["tests/contracts/test_neighbour.py"],
    "client/ledger": ["tests/client/identity/test_site_backup.py", "tests/client/rounds/test_enrolments.py"],
    "client/rounds": ["tests/contracts/test_answers.py", "tests/contracts/test_bad_records.py"],
    "server/audit": ["tests/server/evaluation/test_report_records.py"],
    "server/rounds": ["tests/server/evaluation/test_finish_run.py"],
}


@dataclass(frozen=True)
class Fate:
    """What became of one mistake."""

    file: str
    line: int
    before: str
    after: str
    noticed: bool
    seconds: float


def main() -> int:
    """Plant mistakes and count which are noticed."""
    given = _arguments()
    os.environ.setdefault("ROUNDS_DATA", str(ROOT.parent / "shared" / "data"))
    load_libraries()
    fates: dict[str, list[Fate]] = {}
    for package in given.packages:
        with tempfile.TemporaryDirectory(prefix="rounds-mutation-") as scratch:
            copy = _copied(Path(scratch))
            began = time.monotonic()
            if not passes(copy, _tests(package), None):
                print(f"{package}: its tests fail without a mistake; mend that first", file=sys.stderr)
                return 2
            seconds = 3 * (time.monotonic() - began) + 60
            drawn = _drawn(package, given.mutants, given.seed)
            fates[package] = [_fate(copy, package, file, one, seconds) for file, one in drawn]
        noticed = sum(one.noticed for one in fates[package])
        print(f"{package}: {noticed} of {len(fates[package])} mistakes noticed", flush=True)
    if given.json is not None:
        plain = {package: [asdict(one) for one in found] for package, found in fates.items()}
        given.json.write_text(json.dumps(plain, indent=1), encoding="utf-8")
    every = [one.noticed for found in fates.values() for one in found]
    print(f"together: {sum(every)} of {len(every)}")
    return 0 if sum(every) >= given.floor * len(every) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", nargs="*", default=list(PACKAGES), help="folders, such as client/ledger")
    parser.add_argument("--mutants", type=int, default=20, help="mistakes in each package")
    parser.add_argument("--seed", type=int, default=0, help="which mistakes")
    parser.add_argument("--floor", type=float, default=0.9, help="share that has to be noticed")
    parser.add_argument("--json", type=Path, help="where the list goes")
    return parser.parse_args()


def _copied(folder: Path) -> Path:
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / part)
    compile_copy(folder)
    return folder


def _drawn(package: str, count: int, seed: int) -> list[tuple[str, Mutant]]:
    files = sorted((ROOT / package).rglob("*.py"))
    every = [
        (file.relative_to(ROOT).as_posix(), one)
        for file in files
        for one in mutants(file.read_text(encoding="utf-8"))
    ]
    return random.Random(seed).sample(every, min(count, len(every)))


def _fate(copy: Path, package: str, file: str, mutant: Mutant, seconds: float) -> Fate:
    path = copy / file
    kept = path.read_text(encoding="utf-8")
    path.write_text(mutant.text, encoding="utf-8")
    began = time.monotonic()
    try:
        noticed = not passes(copy, _tests(package, file), seconds)
    finally:
        path.write_text(kept, encoding="utf-8")
    took = time.monotonic() - began
    word = "noticed " if noticed else "SURVIVED"
    print(
        f"  {word} {took:5.0f} s  {file}:{mutant.line}  {mutant.before[:60]}  ->  {mutant.after[:60]}",
        flush=True,
    )
    return Fate(file, mutant.line, mutant.before, mutant.after, noticed, round(took, 1))


def _tests(package: str, file: str = "") -> list[str]:
    """Return what holds a package to its words; of a file of it first its own test and those that name it."""
    every = [f"tests/{package}", *ALSO.get(package, [])]
    if not file:
        return every
    module, own = file.removesuffix(".py").replace("/", "."), f"test_{Path(file).name}"
    files = [one for part in every for one in sorted((ROOT / part).rglob("test_*.py")) or [ROOT / part]]
    near = [one for one in files if one.name == own or module in one.read_text(encoding="utf-8")]
    near.sort(key=lambda one: one.name != own)
    return [*(one.relative_to(ROOT).as_posix() for one in near), *every]


if __name__ == "__main__":
    sys.exit(main())
