"""Numbers as a reader sees them, in reports and pages alike: short, with units, and never a guess for nothing.

In: plain values. Out: text.
"""

from collections.abc import Mapping, Sequence

NOT_STATED = "not stated"
NOT_MEASURED = "not measured"
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def shown(value: object, digits: int = 3) -> str:
    """Write a value for a reader: numbers short, lists joined, None as 'not stated'."""
    if value is None or value == "":
        return NOT_STATED
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return _number(value, digits)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {shown(one, digits)}" for key, one in value.items()) or NOT_STATED
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(shown(one, digits) for one in value) or "none"
    return str(value)


def _number(value: float, digits: int) -> str:
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f")
    if value and not 1e-3 <= abs(value) < 1e6:
        return _scientific(value)
    fixed = f"{value:.{digits}f}"
    return fixed.rstrip("0").rstrip(".") if "." in fixed else fixed


def _scientific(value: float) -> str:
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')} × 10{str(int(exponent)).translate(SUPERSCRIPTS)}"


def in_bytes(count: int) -> str:
    """Write a number of bytes: '1.2 MB'."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def in_seconds(seconds: float | None) -> str:
    """Write a duration: '42 s', '3 min 20 s', '2 h 5 min'."""
    if seconds is None:
        return NOT_STATED
    whole = round(seconds)
    if whole < 120:
        return f"{seconds:.1f} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def event_word(code: str) -> str:
    """Name an event for a reader; an answer stands among the events only where it was not accepted."""
    return "not accepted" if code == "answered" else code.replace("_", " ")


def rounded_by(error: float) -> str:
    """Say how far rounding moved an update, from the largest error over the norm (`server/rounds/aggregation.py`)."""
    return f"rounding, after the noise, moved no update by more than {error:.2%} of its length"
