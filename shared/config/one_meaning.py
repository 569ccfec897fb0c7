"""Is a value of the kind that its field has? Pydantic turns true into 1, 20271231 into a day of 1970 and "1_0" into 10.

In: a field's annotation and what a person gave for it, from any file, command or message. Out: nothing, or the
sentence on a value that would have been turned into another.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import date
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]*)?(\.[0-9]*)?([eE][-+]?[0-9]{1,4})?", re.ASCII)


def check_one_meaning(annotation: Any, value: object) -> None:
    """Refuse true, false and odd spellings for a number, and anything but YYYY-MM-DD for a date: `ValueError`."""
    kinds, words = _kinds(annotation)
    if date in kinds:
        if isinstance(value, int | float) or (isinstance(value, str) and not _DATE.fullmatch(value)):
            raise ValueError("allowed is a date such as 2027-12-31")
        return
    numbers = kinds & {int, float}
    if not numbers:
        return
    allowed = "allowed is a number" if float in kinds else "allowed is a whole number"
    for leaf in _leaves(value):
        if isinstance(leaf, bool) and bool not in kinds:
            raise ValueError(f"{allowed}, which {str(leaf).lower()} is not")
        if isinstance(leaf, str) and str not in kinds and leaf not in words and not _NUMBER.fullmatch(leaf):
            raise ValueError(f"{allowed}, written with decimal digits")


@cache
def _kinds(annotation: Any) -> tuple[frozenset[type], frozenset[str]]:
    """Return the kinds of single values that an annotation takes outside of groups of fields, and its words."""
    kinds: set[type] = set()
    words: set[str] = set()
    for one in _parts(annotation):
        if isinstance(one, str):
            words.add(one)
        elif isinstance(one, type):
            kinds.add(one)
        else:
            kinds.add(type(one))
    return frozenset(kinds), frozenset(words)


def _parts(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if origin is Literal:
        yield from get_args(annotation)
    elif origin is Annotated:
        yield from _parts(get_args(annotation)[0])
    elif origin in {Union, UnionType, tuple, list}:
        for one in get_args(annotation):
            if one is not Ellipsis:
                yield from _parts(one)
    elif origin is dict:
        yield from _parts(get_args(annotation)[1])
    elif isinstance(annotation, type) and not issubclass(annotation, BaseModel):
        yield annotation


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, Mapping):
        for one in value.values():
            yield from _leaves(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _leaves(one)
    else:
        yield value
