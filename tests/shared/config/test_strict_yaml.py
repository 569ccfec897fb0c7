"""A file of settings has one meaning, or is refused with the field, the line and what to write."""

import re
from pathlib import Path

import pytest

from shared.config.files import overridden, read_site, read_study, read_yaml, write_yaml
from shared.config.strict_yaml import MAX_BYTES, MAX_DEPTH
from shared.errors import ConfigError

STUDY = """\
name: meanings
purpose: test
ethics_reference: none
expires: 2100-01-01
task:
  classes: [normal, opacity]
privacy:
  epsilon: 1.0
  enabled: true
federation:
  rounds: 4
"""
SITE = """\
name: here
data:
  source: images
declared_patients: 100
cap: {epsilon: 10.0, delta: 0.00001}
allow_without_privacy: false
weights_dir: w
state_dir: s
head_file: h
"""


def refusal(folder: Path, text: str | bytes) -> str:
    """Return the one sentence on a study's text."""
    path = folder / "study.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as refused:
        read_study(path)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_plain_file_is_read(tmp_path: Path) -> None:
    """What every other test of this file changes is a study as it stands, with or without a UTF-8 mark."""
    for mark in (b"", b"\xef\xbb\xbf"):
        (tmp_path / "study.yaml").write_bytes(mark + STUDY.encode())
        study = read_study(tmp_path / "study.yaml")
        assert (study.privacy.epsilon, study.federation.rounds) == (1.0, 4)


@pytest.mark.parametrize(
    ("added", "sentence"),
    [
        ("privacy:\n  trainable: scales\n", "line 12: privacy stands twice, first on line 7"),
        ("models: {teacher: {name: a, name: b}}\n", "line 12: models.teacher.name stands twice, first on line 12"),
        ("notes:\n- a: 1\n  b: 1\n  'a': 2\n", "line 15: notes.0.a stands twice, first on line 13"),
        ("base: &base {epsilon: 9}\n", "line 12: base has the anchor &base"),
        ("audit: *base\n", "line 12: audit is the reference *base"),
        ("audit:\n  <<: {min_auc: 0.9}\n", "line 13: audit has the merge key <<"),
        ("schema_version: !!int '1'\n", "line 12: schema_version has the tag"),
        ("---\nname: other\n", "line 12: the file begins a second document"),
        ("audit:\n\tmin_auc: 0.9\n", "line 13 holds a tab"),
        ("audit: {min_auc: 0.9\n", "line 13, "),
        ("? [a]\n: 1\n", "line 12: the file has a key that YAML reads as no text"),
        ("true: 1\n", "line 12: the file has a key that YAML reads as no text"),
        ("audit: \x01\n", "line 12 holds the control character U+0001"),
        ("audit: a\ufeffb\n", "line 12 holds a byte order mark"),
        (f"audit: {'[' * 5000}\n", f"is nested more than {MAX_DEPTH} deep"),
        (f"# {'x' * MAX_BYTES}\n", f"allowed are {MAX_BYTES >> 10} KiB"),
    ],
)  # fmt: skip
def test_what_may_mean_two_things_is_refused(tmp_path: Path, added: str, sentence: str) -> None:
    """A key twice at any depth, a reference, a tag, a second document and a broken line are told with their line."""
    assert sentence in refusal(tmp_path, STUDY + added)


def test_a_key_twice_in_a_hospital_s_file(tmp_path: Path) -> None:
    """A second cap does not become the cap."""
    (tmp_path / "site.yaml").write_text(SITE + "cap: {epsilon: 1000.0}\n")
    with pytest.raises(ConfigError, match=r"site\.yaml: line 10: cap stands twice, first on line 5"):
        read_site(tmp_path / "site.yaml")


@pytest.mark.parametrize(
    ("field", "written", "sentence"),
    [
        ("epsilon", "true", "line 8: privacy.epsilon is written true, which YAML reads as True: allowed is a number"),
        ("epsilon", "yes", "line 8: privacy.epsilon is written yes, which YAML reads as True: allowed is a number"),
        ("epsilon", "012", "line 8: privacy.epsilon is written 012, which YAML reads as 10"),
        ("epsilon", "1:30", "line 8: privacy.epsilon is written 1:30, which YAML reads as 90"),
        ("epsilon", "1:30.5", "line 8: privacy.epsilon is written 1:30.5, which YAML reads as 90.5"),
        ("epsilon", "0x10", "line 8: privacy.epsilon is written 0x10, which YAML reads as 16"),
        ("epsilon", "0b11", "line 8: privacy.epsilon is written 0b11, which YAML reads as 3"),
        ("epsilon", "1_0", "line 8: privacy.epsilon is written 1_0, which YAML reads as 10"),
        ("epsilon", "1_0.5", "line 8: privacy.epsilon is written 1_0.5, which YAML reads as 10.5"),
        ("epsilon", ".inf", "line 8: privacy.epsilon is written .inf, which YAML reads as inf"),
        ("epsilon", ".nan", "line 8: privacy.epsilon is written .nan, which YAML reads as nan"),
        ("epsilon", "2027-01-01", "line 8: privacy.epsilon is 2027-01-01: allowed is a number"),
        ("epsilon", "'1_0'", "line 8: privacy.epsilon is '1_0': allowed is a number, written with decimal digits"),
        ("epsilon", "'012'", "line 8: privacy.epsilon is '012': allowed is a number, written with decimal digits"),
        ("epsilon", "٣", "line 8: privacy.epsilon is '٣': allowed is a number, written with decimal digits"),
        ("epsilon", "1e400", "line 8: privacy.epsilon is '1e400': "),
        ("epsilon", "9" * 5000, "line 8: privacy.epsilon is 9999"),
        ("epsilon", "", "line 8: privacy.epsilon is None: allowed is a number"),
        ("rounds", "true", "line 11: federation.rounds is written true, which YAML reads as True: allowed is a whole"),
        ("rounds", "010", "line 11: federation.rounds is written 010, which YAML reads as 8"),
        ("name", "12", "line 1: name is 12: allowed is text; put it into quotes"),
        ("name", "012", "line 1: name is written 012, which YAML reads as 10"),
        ("name", "no", "line 1: name is written no, which YAML reads as False: allowed is text"),
        ("name", "2027-01-01", "line 1: name is 2027-01-01: allowed is text; put it into quotes"),
        ("classes", "[yes, opacity]", "line 6: task.classes.0 is written yes, which YAML reads as True: allowed is te"),
        ("expires", "2027-02-30", "line 4: expires is 2027-02-30, a date that no calendar has"),
        ("expires", "2027-12-31 25:00:00", "line 4: expires is 2027-12-31 25:00:00, a date that no calendar has"),
        ("expires", "20271231", "line 4: expires is 20271231: allowed is a date such as 2027-12-31"),
        ("expires", "'1798675200'", "line 4: expires is '1798675200': allowed is a date such as 2027-12-31"),
        ("expires", "31.12.2027", "line 4: expires is '31.12.2027': allowed is a date such as 2027-12-31"),
        ("enabled", "2", "line 9: privacy.enabled is 2: "),
    ],
)  # fmt: skip
def test_a_value_that_is_read_as_another_is_refused(
    tmp_path: Path, field: str, written: str, sentence: str
) -> None:
    """Field, line, what YAML read and what is allowed, in one sentence."""
    changed = re.sub(rf"(?m)^( *){field}:.*$", lambda found: f"{found[1]}{field}: {written}", STUDY)
    assert changed != STUDY
    said = refusal(tmp_path, changed)
    assert sentence in said
    assert len(said) < 600


@pytest.mark.parametrize(
    ("written", "value"), [("1", 1), ("0.5", 0.5), (".5", 0.5), ("1e-2", 0.01), ("1.0e+1", 10), ("+2", 2), ("2.", 2)]
)  # fmt: skip
def test_a_decimal_number_is_read_however_it_is_written(tmp_path: Path, written: str, value: float) -> None:
    """YAML takes 1e-2 for text; here it is the number that a person means."""
    (tmp_path / "study.yaml").write_text(STUDY.replace("epsilon: 1.0", f"epsilon: {written}"))
    assert read_study(tmp_path / "study.yaml").privacy.epsilon == value


def test_a_thousand_million_laughs_are_refused_at_the_first(tmp_path: Path) -> None:
    """References that double ten times over are refused by the first anchor, before anything is built."""
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
    assert "line 12: a0 has the anchor &a0" in refusal(tmp_path, STUDY + bomb)


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_file_of_another_coding_is_told_by_name(tmp_path: Path, coding: str) -> None:
    """What some editors save as Unicode is told, with a mark or without."""
    assert re.search(r"it is UTF-(16|32), needed is UTF-8", refusal(tmp_path, STUDY.encode(coding)))


def test_a_byte_of_windows_is_told_with_its_line(tmp_path: Path) -> None:
    """An umlaut saved in Windows-1252."""
    text = STUDY.encode().replace(b"purpose: test", b"purpose: M\xfcller")
    assert "line 2 is not UTF-8 but perhaps Windows-1252" in refusal(tmp_path, text)


def test_what_is_no_file_is_told_by_its_cause(tmp_path: Path) -> None:
    """A folder, a missing file and a name that no file can have."""
    for path, why in (
        (tmp_path, "it is a folder"),
        (tmp_path / "no", "no such file"),
        (tmp_path / "a\0", "no file"),
    ):
        with pytest.raises(ConfigError, match=why):
            read_yaml(path)


def test_off_is_a_word_for_the_time_of_answers(tmp_path: Path) -> None:
    """The one plain word that YAML takes for false and a field takes for a word."""
    (tmp_path / "site.yaml").write_text(SITE + "reply_after_seconds: off\n")
    assert read_site(tmp_path / "site.yaml").reply_after_seconds == "off"


def test_a_field_set_on_the_command_line_has_no_line_any_more(tmp_path: Path) -> None:
    """An override is told without the line it replaces; a mistake beside it keeps its own."""
    (tmp_path / "study.yaml").write_text(STUDY)
    raw = read_yaml(tmp_path / "study.yaml")
    changed = overridden(raw, {"privacy.epsilon": True})
    assert ("privacy", "epsilon") not in changed.places
    assert changed.places["federation", "rounds"].line == 11
    write_yaml(tmp_path / "again.yaml", read_study(tmp_path / "study.yaml"))
    assert read_study(tmp_path / "again.yaml") == read_study(tmp_path / "study.yaml")
