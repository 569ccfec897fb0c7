"""What a mistake in a study's or a site's file is answered with."""

from pathlib import Path
from typing import Any

import pytest

from shared.config.files import parse_site, parse_study, read_yaml
from shared.errors import ConfigError

STUDY = read_yaml(Path(__file__).resolve().parents[3] / "deploy" / "studies" / "phantoms.yaml")
SITE: dict[str, Any] = {
    "name": "north", "data": {"source": "films"}, "declared_patients": 100, "weights_dir": "w", "state_dir": "s",
    "head_file": "h/head",
}  # fmt: skip
DIGITS = "allowed are 64 digits of 0-9 and a-f: the SHA-256 of a file or a study"


def changed(raw: dict[str, Any], dotted: str, value: Any) -> dict[str, Any]:
    """Return a raw file with one field, by dotted name, set to a value, or left out where that is `...`."""
    name, _, rest = dotted.partition(".")
    if rest:
        return raw | {name: changed(dict(raw.get(name) or {}), rest, value)}
    return {key: old for key, old in raw.items() if key != name} if value is ... else raw | {name: value}


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("task.image_sise", 64, "task.image_sise is 64: there is no such field; did you mean task.image_size? allowed"),
        ("models.teacher.nane", "x", "nane is 'x': there is no such field; did you mean models.teacher.name?"),
        (
            "models.student.architecture", {"kernel": [3]},
            "architecture.kernel is [3]: there is no such field; did you mean models.student.architecture.kernels?",
        ),
        ("models.student.architecture", "ofa600", "models.student.architecture is 'ofa600': it should be 'ofa595'"),
        ("federation.rounds", "many", "federation.rounds is 'many': allowed is a whole number"),
        ("task.image_size", 33.5, "task.image_size is 33.5: allowed is a whole number"),
        ("privacy.epsilon", -1, "privacy.epsilon is -1: it should be greater than 0"),
        ("name", "a b", "name is 'a b': allowed are 1 to 40 small letters, digits and -"),
        ("name", ..., "name is missing; fill it in"),
        ("expires", "soon", "expires is 'soon': allowed is a date such as 2027-12-31"),
        ("task", 7, "task is 7: allowed is a group of fields"),
        ("task.classes", "a", "task.classes is 'a': allowed is a list"),
    ],
)  # fmt: skip
def test_a_study_s_mistake_is_one_sentence(field: str, value: Any, sentence: str) -> None:
    """Field, value and what is allowed, in words of the file and not of the program that read it."""
    with pytest.raises(ConfigError) as raised:
        parse_study(changed(STUDY, field, value), "study.yaml")
    assert str(raised.value).startswith("study.yaml: ")
    assert sentence in str(raised.value)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("compute.devise", "cuda", "compute.devise is 'cuda': there is no such field; did you mean compute.device?"),
        ("data.dicom.lables", "a.csv", "there is no such field; did you mean data.dicom.labels?"),
        ("hub.adress", "a:1", "hub.adress is 'a:1': there is no such field; did you mean hub.address?"),
        ("hub.address", "a", "hub.address is 'a': allowed is HOST:PORT such as hub.example.org:8443"),
        ("name", "nö", "name is 'nö': allowed are 1 to 40 letters (a to z), digits, - and _"),
        ("declared_patients", None, "declared_patients is None: allowed is a whole number"),
        ("show_cap", "maybe", "show_cap is 'maybe': allowed is true or false"),
        ("approved_studies", ["zz"], f"approved_studies.0 is 'zz': {DIGITS}"),
        ("approved_studies", "any", "approved_studies is 'any': allowed is a list"),
        ("accepted_digests", {"zz": "public"}, f"accepted_digests.zz is 'zz': {DIGITS}"),
        ("allow_releases", ["updates"], "allow_releases.0 is 'updates': it should be 'enrolment', 'update'"),
        ("cap.delta", 0.01, "cap.delta is 0.01, allowed is at most 0.001"),
    ],
)  # fmt: skip
def test_a_site_s_mistake_is_one_sentence(field: str, value: Any, sentence: str) -> None:
    """The same for a hospital's file."""
    with pytest.raises(ConfigError) as raised:
        parse_site(changed(SITE, field, value), "site.yaml")
    assert sentence in str(raised.value)


def test_no_word_is_pydantics() -> None:
    """None of its stock phrases, whatever is wrong with every field of a file at once."""
    wrong = [dict.fromkeys(SITE, value) for value in (7, "x", None, [], {}, -1.5, True, {"extra": 1})] + [
        SITE | {"unknown": 1},
        {},
    ]
    for raw in wrong:
        with pytest.raises(ConfigError) as raised:
            parse_site(raw)
        said = str(raised.value)
        for phrase in ("Input should", "Extra inputs", "Field required", "Value error", "should match pattern",
                       "literal[", "valid dictionary"):  # fmt: skip
            assert phrase not in said
