"""The code digest names what runs."""

import re
from pathlib import Path

import pytest

from shared import code_digest as code


def test_it_is_a_stable_digest() -> None:
    """Two calls give the same SHA-256."""
    first = code.code_digest()
    code.code_digest.cache_clear()
    assert re.fullmatch(r"[0-9a-f]{64}", first)
    assert code.code_digest() == first


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("client/a.py", True),
        ("shared/models/net.json", True),
        ("client/new.py", True),
        ("server/page.html", False),
        ("tests/test_a.py", False),
        ("client/__pycache__/a.pyc", False),
    ],
)
def test_it_changes_with_the_code_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, changes: bool
) -> None:
    """A Python or JSON file of the three packages changes it; pages, tests and caches do not."""
    for name in ("shared/code_digest.py", "client/a.py", "shared/models/net.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    monkeypatch.setattr(code, "__file__", str(tmp_path / "shared" / "code.py"))
    digest = code.code_digest.__wrapped__
    before = digest()
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text("2")
    assert (digest() != before) is changes
