"""Flower reads every text that a path or a setting may hold, exactly as it was given."""

import tomllib

import pytest

from server.flower.run_control import _as_toml
from shared.errors import ConfigError


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "O'Brien [x]",
        'a "q"',
        "back\\slash",
        "emoji 😀",
        "tab\tand\nline",
        "del\x7f",
        "$HOME `x`",
        "",
        "a=b c=d",
    ],
)
def test_text_arrives_as_it_is(text: str) -> None:
    """Quotes, brackets, backslashes, control characters and emoji come back unchanged, beside numbers."""
    given = {
        "output": f"/data/{text}",
        "federation.rounds": 3,
        "privacy.delta": 1e-05,
        "privacy.enabled": True,
    }
    assert tomllib.loads(_as_toml(given)) == given


def test_a_path_that_is_no_text_is_refused() -> None:
    """A path that is no UTF-8 is one sentence: Flower cannot carry it."""
    with pytest.raises(ConfigError, match=r"^output is .*not in UTF-8.*rename the folder"):
        _as_toml({"output": "/data/\udcff"})
