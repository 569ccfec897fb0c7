"""Which class is a label: what is sure, what is a guess, and what a person says."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from client.setup.proposals.label_map import corrected, label_map_of, matches, parsed_corrections
from shared.errors import ConfigError

CLASSES = ("normal", "pneumonia")


def proposed(*labels: str, **given_before: str) -> dict[str, tuple[str | None, bool]]:
    """Return class and sureness by label."""
    return {
        one.label: (one.target, one.is_sure)
        for one in matches(dict.fromkeys(labels, 1), CLASSES, given_before)
    }


def test_another_spelling_is_the_class_and_a_synonym_a_guess() -> None:
    """Case, Unicode form and signs aside a label is the class; other words for it must be confirmed."""
    assert proposed("normal", "NORMAL", "Pneumonia ", "ｎormal") == {
        "normal": ("normal", True), "NORMAL": ("normal", True), "Pneumonia ": ("pneumonia", True),
        "ｎormal": ("normal", True),
    }  # fmt: skip
    assert proposed("healthy", "Lung Opacity", "No Finding") == {
        "healthy": ("normal", False), "Lung Opacity": ("pneumonia", False), "No Finding": ("normal", False),
    }  # fmt: skip


def test_what_nobody_can_know_has_no_class() -> None:
    """A word of no finding here, and one that two classes are like, are left for a person."""
    assert proposed("fracture", "+") == {"fracture": (None, False), "+": (None, False)}
    (one,) = matches({"covid": 3}, ("covid19", "sars-cov-2"), {})
    assert (one.target, one.why) == (None, "more than one class is like it")


def test_what_was_said_before_stands() -> None:
    """Also that a label is left out; a class that the study no longer has does not."""
    assert proposed("a", "b", a="pneumonia", b="") == {"a": ("pneumonia", True), "b": ("", True)}
    assert proposed("a", a="opacity") == {"a": (None, False)}


@given(some.dictionaries(some.text(max_size=8), some.integers(1, 9), max_size=6))
def test_no_label_is_mapped_or_left_out_silently(labels: dict[str, int]) -> None:
    """Each label has one proposal, whose class is the study's or none; nothing is left out that nobody named."""
    found = matches(labels, CLASSES, {})
    assert {one.label: one.number for one in found} == labels
    assert all(one.target in {*CLASSES, None} for one in found)
    assert all(one.target is not None for one in found if one.is_sure)


def test_a_person_corrects_and_leaves_out() -> None:
    """Corrections take a guess's place and are sure; the map holds what is not the class itself."""
    found = matches({"normal": 1, "opacity": 2, "other": 3}, CLASSES, {})
    said = corrected(found, parsed_corrections(["opacity=normal", " other = "]), CLASSES)
    assert all(one.is_sure for one in said)
    assert label_map_of(said) == {"opacity": "normal", "other": ""}


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        (["fracture=normal"], "label 'fracture' is not in the data, which holds 'a'"),
        (
            ["a=opacity"],
            "class 'opacity' for label 'a' is none of the study, allowed is 'normal', 'pneumonia'",
        ),
        (["a"], "'a' is no LABEL=CLASS"),
        (["a=normal", "a=pneumonia"], "label 'a' is given two classes"),
    ],
)
def test_a_wrong_correction_is_one_sentence(texts: list[str], sentence: str) -> None:
    """It names label, class and what is allowed."""
    with pytest.raises(ConfigError, match=sentence):
        corrected(matches({"a": 1}, CLASSES, {}), parsed_corrections(texts), CLASSES)
