"""Fingerprints that two people can compare by telephone.

In: a SHA-256 as 64 hexadecimal digits. Out: twelve words of the BIP 39 English list. They carry its first 128 bits
and a checksum of 4 bits, so a word that was misheard is noticed; to find another key with the same twelve words takes
about 2^128 tries.
"""

import hmac
import re

from mnemonic import Mnemonic

from shared.errors import ConfigError

_BYTES = 16


def words(fingerprint: str) -> str:
    """Return the twelve words to read out.

    >>> words("00" * 32)
    'abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about'
    """
    return str(Mnemonic("english").to_mnemonic(bytes.fromhex(fingerprint)[:_BYTES]))


def same_fingerprint(said: str, fingerprint: str) -> bool:
    """Compare what a person typed, twelve words or 64 digits in any spelling, with a fingerprint.

    `ConfigError` where it can be no fingerprint at all: another number of words, an unknown word, a wrong checksum.

    >>> same_fingerprint("ABABABAB " * 8, "ab" * 32), same_fingerprint(words("cd" * 32), "ab" * 32)
    (True, False)
    """
    digits = re.sub(r"[\s:]", "", said).lower()
    if re.fullmatch(r"[0-9a-f]{64}", digits):
        return hmac.compare_digest(digits, fingerprint)
    typed = said.lower().split()
    if len(typed) != 12 or not Mnemonic("english").check(" ".join(typed)):
        raise ConfigError(
            f"fingerprint has {len(typed)} words that fit no fingerprint, allowed are its 12 words or 64 hexadecimal "
            "digits; listen again, a word was misheard or mistyped"
        )
    return hmac.compare_digest(" ".join(typed), words(fingerprint))
