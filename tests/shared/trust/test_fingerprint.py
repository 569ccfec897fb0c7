"""Fingerprints that are read out by telephone."""

import hashlib

import pytest

from shared.errors import ConfigError
from shared.trust.fingerprint import same_fingerprint, words

DIGEST = "7f" * 32


def test_words_are_those_of_the_published_vector() -> None:
    """Sixteen bytes of 7f are the twelve words that BIP 39 publishes for them."""
    assert words(DIGEST) == "legal winner thank year wave sausage worth useful legal winner thank yellow"


@pytest.mark.parametrize(
    "shape", [str, str.upper, lambda d: ":".join(d[i : i + 2] for i in range(0, 64, 2)), words]
)
def test_every_spelling_of_the_same_fingerprint_is_the_same(shape) -> None:
    """Digits with or without colons, capitals and words all stand for one fingerprint, and for no other."""
    other = hashlib.sha256(b"other").hexdigest()
    assert same_fingerprint(f"  {shape(DIGEST)} ", DIGEST)
    assert not same_fingerprint(shape(other), DIGEST)


@pytest.mark.parametrize("said", ["", "legal winner", "7f7f", words(DIGEST).replace("sausage", "orange")])
def test_what_can_be_no_fingerprint_is_said_to_be_misheard(said: str) -> None:
    """Too few words, short digits or a checksum that fails is a slip, not another key."""
    with pytest.raises(ConfigError, match="misheard or mistyped"):
        same_fingerprint(said, DIGEST)
