"""Which class of the study is a label of the hospital? Labels and classes come in; proposals with reasons go out.

A label that is a class but for case, Unicode form, spaces and signs is the class. Everything else is a guess from
words that are used for the same finding, and counts only once a person has said so.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from shared.data.tables.csv_header import plain_column
from shared.errors import ConfigError

# Words of one line are often used for one finding; none is the same finding everywhere.
SYNONYMS = (
    ("normal", "norm", "healthy", "nofinding", "nofindings", "negative", "control", "unremarkable", "gesund",
     "unauffaellig", "unauffällig", "obefund", "sano", "sain", "neg"),
    ("pneumonia", "pneu", "opacity", "opac", "lungopacity", "consolidation", "infiltrate", "infiltration",
     "bacterialpneumonia", "viralpneumonia", "bacterial", "viral", "pneumonie", "lungenentzündung", "neumonia"),
    ("covid19", "covid", "covid19pneumonia", "sarscov2", "ncov", "covidpneumonia"),
    ("tuberculosis", "tb", "tbc", "tuberkulose"),
    ("nodr", "0", "nodiabeticretinopathy", "noretinopathy"),
    ("malignant", "malign", "cancer", "carcinoma", "bösartig", "boesartig"),
    ("benign", "benigne", "gutartig"),
    ("positive", "pos", "abnormal", "pathological", "finding", "disease", "diseased"),
)  # fmt: skip
LEFT_OUT = ""
SAID = "as you said"


@dataclass(frozen=True)
class Match:
    """A label, the class proposed for it (None: none known), whether that is sure, and why."""

    label: str
    number: int  # of pictures or rows
    target: str | None
    is_sure: bool
    why: str


def matches(labels: Mapping[str, int], classes: Sequence[str], given: Mapping[str, str]) -> list[Match]:
    """Propose a class for each label; `given` is what a person said before, which stands as far as it can."""
    return [_match(label, labels[label], classes, given) for label in sorted(labels)]


def _match(label: str, number: int, classes: Sequence[str], given: Mapping[str, str]) -> Match:
    if label in given and given[label] in {*classes, LEFT_OUT}:
        return Match(label, number, given[label], True, "as site.yaml or an option says")
    if label in classes:
        return Match(label, number, label, True, "the class itself")
    alike = [one for one in classes if plain_column(one) == plain_column(label) and plain_column(label)]
    if len(alike) == 1:
        return Match(label, number, alike[0], True, "the class in another spelling")
    found = [one for one in classes if _mean_the_same(label, one)]
    if len(found) == 1:
        return Match(label, number, found[0], False, "often the same finding: is it, here?")
    return Match(
        label, number, None, False, "no class is like it" if not found else "more than one class is like it"
    )


def _mean_the_same(label: str, name: str) -> bool:
    one, other = plain_column(label), plain_column(name)
    return any(one in words and other in words for words in SYNONYMS)


def label_map_of(found: Iterable[Match]) -> dict[str, str]:
    """Return `data.label_map`: what a label is where it is not the class itself, "" where it is left out."""
    return {one.label: one.target for one in found if one.target is not None and one.target != one.label}


def corrected(found: Sequence[Match], corrections: Mapping[str, str], classes: Sequence[str]) -> list[Match]:
    """Return the proposals with what a person says instead.

    Errors: `ConfigError` for a label that the data does not hold, or a class that the study does not have.
    """
    known = {one.label for one in found}
    for label, target in corrections.items():
        if label not in known:
            raise ConfigError(
                f"label {label!r} is not in the data, which holds {_named(sorted(known))}; correct it"
            )
        if target not in {*classes, LEFT_OUT}:
            raise ConfigError(
                f"class {target!r} for label {label!r} is none of the study, allowed is {_named(classes)}, or nothing "
                "to leave it out; correct it"
            )
    return [
        Match(one.label, one.number, corrections[one.label], True, SAID) if one.label in corrections else one
        for one in found
    ]


def parsed_corrections(texts: Iterable[str]) -> dict[str, str]:
    """Read LABEL=CLASS, one or several; nothing after the sign leaves the label out.

    Errors: `ConfigError` for a text without the sign, or one label given two classes.
    """
    found: dict[str, str] = {}
    for text in texts:
        label, sign, target = text.rpartition("=")
        if not sign:
            raise ConfigError(
                f"{text!r} is no LABEL=CLASS, such as PNEU=pneumonia, or OTHER= to leave a label out; correct it"
            )
        if found.get(label.strip(), target.strip()) != target.strip():
            raise ConfigError(f"label {label.strip()!r} is given two classes, allowed is one; correct it")
        found[label.strip()] = target.strip()
    return found


def _named(names: Iterable[str]) -> str:
    shown = [repr(name[:40]) for name in names]
    return ", ".join(shown[:8]) + (f" and {len(shown) - 8} more" if len(shown) > 8 else "")
