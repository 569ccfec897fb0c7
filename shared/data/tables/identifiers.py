"""Whose identifier is this? Text of a table comes in; whether it names anybody, and what makes two spellings one.

A person under two identifiers is protected as two people. Nothing of it leaves the hospital.
"""

import re
import unicodedata
from functools import lru_cache

# What programs write into a cell that holds nothing: pandas, R, SQL, spreadsheets, and people.
MISSING = frozenset({
    "nan", "none", "null", "nil", "na", "n/a", "n.a.", "nat", "<na>", "#n/a", "#na", "missing",
    "unknown", "undefined", "-", "--", "---", ".", "?", "???", "#ref!", "#value!", "#name?", "(null)",
    "(none)", "\\n", "k.a.",
})  # fmt: skip
_ROUNDED = re.compile(r"[0-9]([.,][0-9]+)?e\+[0-9]{2,3}", re.ASCII)
_WHOLE = re.compile(r"([0-9]+)[.,]0+", re.ASCII)


def names_nobody(identifier: str) -> bool:
    """Say whether an identifier is a word for a missing one, such as NaN, None or a dash."""
    return _folded(identifier) in MISSING


def is_rounded(identifier: str) -> bool:
    """Say whether a spreadsheet has rounded a long number to 1.2E+11, which may stand for several people."""
    return _ROUNDED.fullmatch(_folded(identifier)) is not None


@lru_cache(maxsize=1 << 16)
def plain_identifier(identifier: str) -> str:
    """Return what is the same for spellings of one identifier that differ by habit of a program or a hand.

    Case, Unicode form, spaces, dashes, signs that nobody sees, zeros in front of a number, and 7.0 for 7.
    """
    text = _folded(identifier)
    whole = _WHOLE.fullmatch(text)
    return re.sub(r"^([^0-9]*)0+(?=[0-9])", r"\1", whole[1] if whole else text, flags=re.ASCII)


@lru_cache(maxsize=1 << 16)
def _folded(identifier: str) -> str:
    if identifier.isascii() and identifier.isprintable():  # as nearly all are
        return identifier.lower().replace(" ", "")
    text = unicodedata.normalize("NFKC", identifier).casefold()
    kinds = ((mark, unicodedata.category(mark)) for mark in unicodedata.normalize("NFKC", text))
    return "".join("-" if kind == "Pd" else mark for mark, kind in kinds if kind[0] not in {"Z", "C"})
