"""Passwords: argon2id, at most four computed at once, and words for those that will not do.

In: what a person typed. Out: a hash for the store, or whether it fits one. One hash takes 64 MiB and about 0.1 s:
twenty at once would be 1.3 GB, so they wait for each other outside of the threads that pages run in.
"""

import secrets
import unicodedata
from typing import Final

import anyio
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

MOST_AT_ONCE: Final = 4  # on one machine, shared by its workers
SHORTEST, LONGEST = 15, 200
_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"  # no letter that is taken for another
_GROUPS, _GROUP = 4, 5
_HASHER: Final = PasswordHasher()  # argon2id, RFC 9106's second choice: 64 MiB, 3 passes, 4 lanes


class Hashing:
    """The hashes of one process, `at_once` of them at a time."""

    def __init__(self, at_once: int = MOST_AT_ONCE) -> None:
        self._limiter = anyio.CapacityLimiter(at_once)
        self._nobody = ""

    async def hash(self, password: str) -> str:
        """Return the hash to store."""
        return await anyio.to_thread.run_sync(hash_password, password, limiter=self._limiter)

    async def fits(self, stored: str | None, password: str) -> bool:
        """Tell whether a password fits a stored hash; without one it takes as long and never does."""
        return await anyio.to_thread.run_sync(self._fits, stored, password, limiter=self._limiter)

    def _fits(self, stored: str | None, password: str) -> bool:
        if stored:
            return fits(stored, password)
        self._nobody = self._nobody or hash_password(secrets.token_urlsafe())
        fits(self._nobody, password)
        return False


def hash_password(password: str) -> str:
    """Return the argon2id hash of a password."""
    return _HASHER.hash(same_form(password))


def fits(stored: str, password: str) -> bool:
    """Tell whether a password fits a hash."""
    try:
        return _HASHER.verify(stored, same_form(password))
    except (VerifyMismatchError, VerificationError, InvalidHashError):
        return False


def same_form(password: str) -> str:
    """Return one spelling of what keyboards send in several (Unicode NFC, RFC 8265)."""
    return unicodedata.normalize("NFC", password)


def one_time_password() -> str:
    """Return a password to be read out or typed once: 99 bits."""
    groups = ("".join(secrets.choice(_ALPHABET) for _ in range(_GROUP)) for _ in range(_GROUPS))
    return "-".join(groups)


def weakness(password: str, person: str) -> str:
    """Return in one sentence why a new password will not do, empty where it will.

    Length counts, not the kinds of characters (NIST SP 800-63B-4).
    """
    plain = password.casefold()
    if len(password) < SHORTEST:
        return f"The new password has {len(password)} characters, at least {SHORTEST} are needed; use a few words."
    if len(password) > LONGEST:
        return f"The new password has {len(password)} characters, at most {LONGEST} are taken; shorten it."
    if len(set(plain)) < 5:
        return "The new password repeats a few characters; use a few words."
    if person.casefold() in plain or "teachingrounds" in plain.replace(" ", ""):
        return "The new password holds your name or this software's; choose other words."
    return ""
