"""A file of JSON that one person hands to another has one meaning, or is refused."""

from pathlib import Path

import pytest

from server.cli.studies.typed_settings import typed_settings
from shared.config.strict_json import one_meaning
from shared.errors import ConfigError, TrustError
from shared.trust.hub_invitation import parse_invitation
from shared.trust.site_introduction import read_introduction

MAX_BYTES = 1 << 20


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'{"a": 1, "a": 2}', "a stands twice"),
        (b'{"b": [{"a": 1, "\\u0061": 2}]}', "a stands twice"),
        (b'{"a": NaN}', "NaN is no number"),
        (b"[" * 200_000, "nested too deep"),
        (b" " * (MAX_BYTES + 1), "more than 1 MiB"),
        (b"\xff\xfe\x00", "decode"),
    ],
)
def test_what_may_mean_two_things_is_refused(data: bytes, why: str) -> None:
    """A key twice at any depth, however it is spelt, and what is no JSON."""
    with pytest.raises(ValueError, match=why):
        one_meaning(data)


def test_what_has_one_meaning_is_given_back() -> None:
    """The bytes themselves, since a signature may be over them."""
    assert one_meaning(b'{"a": {"a": 1}, "b": [1.5]}') == b'{"a": {"a": 1}, "b": [1.5]}'


def test_files_of_other_people_are_read_so(tmp_path: Path) -> None:
    """An introduction and an invitation with a key twice are none."""
    path = tmp_path / "one.pub"
    path.write_text('{"format": 1, "format": 1}')
    for read in (read_introduction, parse_invitation):
        with pytest.raises(TrustError, match=r"one\.pub: is no"):
            read(path)


def test_a_setting_is_given_once() -> None:
    """--set with one field twice is refused, whatever the two values are; the hub's own default gives way."""
    with pytest.raises(ConfigError, match="--set names a twice"):
        typed_settings(["a=1", "a=1"])
    assert typed_settings(["threads=2", "name=012"]) == {"threads": 2, "name": "012"}
