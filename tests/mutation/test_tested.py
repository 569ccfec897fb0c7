"""A copy's tests are run as the copy stands: what is changed in it is seen, and what does not end is stopped."""

from pathlib import Path

import pytest

from tests.mutation.tested import compile_copy, passes

RULE = "def doubled(x):\n    return x * 2\n"
TEST = "from shared.rule import doubled\n\ndef test_rule():\n    assert doubled(3) == 6\n"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a compiled project of one module and its test, of a name that the project around has too."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "shared" / "__init__.py").touch()
    (tmp_path / "shared" / "rule.py").write_text(RULE)
    (tmp_path / "tests" / "test_rule.py").write_text(TEST)
    (tmp_path / "pyproject.toml").write_text(
        '[tool.pytest.ini_options]\naddopts = "--import-mode=importlib"\npythonpath = ["."]\n'
    )
    compile_copy(tmp_path)
    return tmp_path


def test_each_run_is_of_the_source_as_it_is(copy: Path) -> None:
    """A mistake of the same length, planted in the same second, is run; so is its mending."""
    rule = copy / "shared" / "rule.py"
    for _ in range(2):
        assert passes(copy, ["tests"], 120)
        rule.write_text(RULE.replace("*", "+"))
        assert not passes(copy, ["tests"], 120)
        rule.write_text(RULE)


def test_what_does_not_end_is_stopped(copy: Path) -> None:
    """A mistake that loops for ever is noticed by the time."""
    (copy / "shared" / "rule.py").write_text(RULE.replace("return", "while True: pass\n    return"))
    assert not passes(copy, ["tests"], 2)
