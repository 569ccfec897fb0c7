"""Rules of rules: what a pattern of data.dicom fits."""

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.data.dicom.labels import fits


@pytest.mark.parametrize(
    ("value", "pattern", "is_fit"),
    [
        ("Rx Thorax [PA]", "Rx Thorax [PA]", True),
        ("Rx Thorax P stehend", "Rx Thorax [PA]*", False),
        ("what?", "what?", True),
        ("whats", "what?", False),
        ("CHEST", "chest", True),
        ("a\nb", "a*b", True),
        ("ab", "ab*b", False),
        ("aXbXb", "a*b", True),
        ("", "*", False),
        ("a" * 20_000, "*a" * 200 + "b", False),
    ],
)
def test_only_the_star_is_special(value: str, pattern: str, is_fit: bool) -> None:
    """Brackets and question marks stand for themselves; a hard pattern costs no time."""
    assert fits({"tag": value}, "tag", [pattern]) == is_fit


@given(st.text("ab", min_size=1, max_size=8), st.text("ab*", max_size=8))
def test_a_star_is_any_characters(value: str, pattern: str) -> None:
    """Where no other sign is in it, a pattern fits what the shell's would."""
    assert fits({"tag": value}, "tag", [pattern]) == fnmatchcase(value, pattern)
