"""Flower beyond its public API is reached from two rooms alone, so that the next version is a matter of those two."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.terminal import REPOSITORY

PUBLIC = {"flwr", "flwr.app", "flwr.clientapp", "flwr.serverapp"}
ROOMS = ("client/flower/", "server/flower/")


def reached(source: str) -> Iterator[str]:
    """Yield the modules of Flower that a source imports and that are not its public API."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == "flwr" and name not in PUBLIC)


def test_flower_s_internals_stay_in_two_rooms() -> None:
    """No other file of the three packages, or of deploy, imports them."""
    files = [
        file
        for root in ("client", "server", "shared", "deploy")
        for file in (REPOSITORY / root).rglob("*.py")
    ]
    assert len(files) > 300
    found = {
        (name, module)
        for file in files
        if not (name := file.relative_to(REPOSITORY).as_posix()).startswith(ROOMS)
        for module in reached(file.read_text(encoding="utf-8"))
    }
    assert found == set()


@pytest.mark.parametrize("room", ROOMS)
def test_the_rooms_are_used(room: str) -> None:
    """What is looked for is found where it may be."""
    files = Path(REPOSITORY / room).glob("*.py")
    assert [module for file in files for module in reached(file.read_text(encoding="utf-8"))]


@pytest.mark.parametrize(
    "source",
    [
        "import flwr.proto.node_pb2",
        "def f():\n    from flwr.supercore import error",
        "from flwr.cli import build",
    ],
)
def test_each_way_of_importing_is_seen(source: str) -> None:
    """Plain, from, and inside a function."""
    assert list(reached(source))
