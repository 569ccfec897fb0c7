import importlib

import pytest

from server.dashboard.auth import passwords
from server.dashboard.auth.passwords import fits, hash_password, one_time_password, weakness


def test_a_hash_is_argon2id_with_64_mebibytes() -> None:
    """What is stored names its function and its cost: 64 MiB, 3 passes, 4 lanes."""
    hashed = importlib.reload(passwords).hash_password("seven otters cross the bridge")
    assert hashed.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_two_hashes_of_one_password_differ_and_both_fit() -> None:
    """Each has a salt of its own."""
    first, second = hash_password("seven otters"), hash_password("seven otters")
    assert first != second
    assert fits(first, "seven otters")
    assert fits(second, "seven otters")
    assert not fits(first, "seven otterz")
    assert not fits("", "seven otters")


def test_two_spellings_of_one_character_are_one_password() -> None:
    """A keyboard that sends a letter and its accent apart opens the same account."""
    assert fits(hash_password("caf\u00e9 au lait sans sucre"), "cafe\u0301 au lait sans sucre")


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("fourteen chars", "at least 15"),
        ("x" * 201, "at most 200"),
        ("abababababababab", "repeats"),
        ("ines okafor likes tea", "your name"),
        ("Teaching Rounds forever", "this software's"),
    ],
)
def test_a_weak_password_is_refused_in_a_sentence(password: str, why: str) -> None:
    """Too short, too long, repeated, or made of the name."""
    assert why in weakness(password, "Ines Okafor")


def test_a_few_words_will_do() -> None:
    """Length counts, not the kinds of characters."""
    assert weakness("seven otters cross the bridge", "Ines Okafor") == ""


def test_one_time_passwords_are_long_and_new_each_time() -> None:
    """A hundred of them differ; none holds a letter that is taken for another."""
    made = {one_time_password() for _ in range(100)}
    assert len(made) == 100
    assert all(len(one) == 23 and not set(one) & set("0o1il") for one in made)
