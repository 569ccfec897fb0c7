"""A test that takes its limit from the code cannot fail when the limit is wrong: numbers are written out in tests."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.terminal import REPOSITORY

OURS = {"client", "server", "shared", "deploy"}


def is_number(value: ast.expr | None) -> bool:
    """Tell a number, or a sum or power of numbers, from anything else."""
    match value:
        case ast.Constant(value=found):
            return isinstance(found, int | float) and not isinstance(found, bool)
        case ast.BinOp(left=left, right=right):
            return is_number(left) and is_number(right)
        case ast.UnaryOp(operand=operand):
            return is_number(operand)
    return False


def numbers_of(module: str) -> set[str]:
    """Return the names of a module's constants that are plain numbers."""
    file = REPOSITORY / f"{module.replace('.', '/')}.py"
    if not file.is_file():
        return set()
    found = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign):
            targets: list[ast.expr] = node.targets
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets = [node.target]
        else:
            continue
        if is_number(node.value):
            found |= {one.id for one in targets if isinstance(one, ast.Name)}
    return found


def taken_from_the_code(source: str) -> Iterator[str]:
    """Yield the numbers of ours that a test imports by name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in OURS:
            numbers = numbers_of(node.module)
            yield from (one.name for one in node.names if one.name in numbers)


@pytest.mark.parametrize(
    "folder", ["client", "server", "shared", "deploy", "contracts", "privacy", "system", "browser"]
)
def test_no_test_imports_a_limit(folder: str) -> None:
    """No constant that is a number is imported from the code under test."""
    files = list(Path(REPOSITORY / "tests" / folder).rglob("*.py"))
    assert files
    found = {
        f"{file.relative_to(REPOSITORY)}: {name}"
        for file in files
        for name in taken_from_the_code(file.read_text(encoding="utf-8"))
    }
    assert found == set()


def test_an_imported_limit_is_seen() -> None:
    """One of each form is found, and a name that is no number is not."""
    assert list(taken_from_the_code("from server.dashboard.figures.timeline import MOST_COLUMNS")) == [
        "MOST_COLUMNS"
    ]
    assert list(taken_from_the_code("from shared.data.pictures.limits import MAX_PIXELS")) == ["MAX_PIXELS"]
    assert list(taken_from_the_code("from server.dashboard.http.headers import POLICY, HEADERS")) == []
