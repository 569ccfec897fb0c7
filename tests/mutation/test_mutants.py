"""Mistakes are made where they matter, and each changes its place alone."""

import ast

import pytest

from tests.mutation.mutants import mutants

SOURCE = '''"""Text with 3 < 4."""
LIMIT: "int" = 5  # é


def f(x: int = 1) -> bool:
    """Say 1 + 1."""
    if x < LIMIT and not x:
        raise ValueError(f"{x + 1} is < 3")
    return x * 2.5 == 7
'''


def test_every_mutant_is_another_program() -> None:
    """Each parses, none is the source, and none changes a text, an annotation or what is raised."""
    found = list(mutants(SOURCE))
    assert len({one.text for one in found}) == len(found)
    for one in found:
        ast.parse(one.text)
        assert one.text != SOURCE
        for kept in (
            '"""Text with 3 < 4."""',
            '"int"',
            '"""Say 1 + 1."""',
            'ValueError(f"{x + 1} is < 3")',
            "# é",
        ):
            assert kept in one.text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("5", "6"), ("1", "2"), ("x < LIMIT", "x <= LIMIT"), ("not x", "x"), ("2.5", "5.0"), ("7", "8"),
        ("x * 2.5", "x / 2.5"), ("x * 2.5 == 7", "x * 2.5 != 7"),
        ("x < LIMIT and not x", "x < LIMIT or not x"),
    ],
)  # fmt: skip
def test_the_mistakes_are_these(before: str, after: str) -> None:
    """A comparison, a number, a sign, a condition."""
    assert after in [one.after for one in mutants(SOURCE) if one.before == before]
    assert len(list(mutants(SOURCE))) == 9


@pytest.mark.parametrize(
    "silent",
    [
        'path = folder / "a" / f"{name}.json"', 'name = stem + ".lock"', "zip(a, b, strict=True)",
        "held: list[int] = field(repr=False)", 'T = TypeVar("T", contravariant=True)', "Kept = Spend | None",
        "Kept = Frozen | Annotated[Gaussian, Field()]", "Kept = One | Two | Three",
    ],
)  # fmt: skip
def test_what_no_test_should_hold_is_left_alone(silent: str) -> None:
    """Paths, names, types, and what only a reader or the type checker looks at."""
    assert list(mutants(silent)) == []


@pytest.mark.parametrize(
    ("source", "after"),
    [
        ("x = 0.0", "1.0"), ("x = a / b", "a * b"), ("x = flags | MASK", "flags & MASK"), ("x = a.b | c", "a.b & c"),
        ("path.mkdir(parents=True)", "False"),
    ],
)  # fmt: skip
def test_what_matters_beside_them_is_not(source: str, after: str) -> None:
    """A zero is another number afterwards; numbers are divided and sets joined as before."""
    assert [one.after for one in mutants(source)] == [after]
