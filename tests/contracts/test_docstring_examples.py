"""Examples in docstrings are what the code does: each is run as it stands."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = sorted(
    ".".join(file.relative_to(REPOSITORY).with_suffix("").parts)
    for package in ("client", "server", "shared", "deploy")
    for file in (REPOSITORY / package).rglob("*.py")
    if ">>> " in file.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("module", EXAMPLES)
def test_an_example_gives_what_it_shows(module: str) -> None:
    """Every example of a module runs and prints what stands below it."""
    found = doctest.testmod(import_module(module))
    assert (found.failed, found.attempted > 0) == (0, True)


def test_there_are_examples() -> None:
    """Privacy, trust and messages have some: the search above finds them."""
    assert {name.split(".")[1] for name in EXAMPLES} >= {"messages", "privacy", "trust"}


def test_a_wrong_example_is_seen(tmp_path: Path) -> None:
    """An example that shows another value fails."""
    source = tmp_path / "wrong.txt"
    source.write_text(">>> 1 + 1\n3\n", encoding="utf-8")
    assert doctest.testfile(str(source), module_relative=False, verbose=False).failed == 1
