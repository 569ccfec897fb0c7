"""A hospital's own rules for DICOM: what may be said, and what a mistake is answered with."""

from pathlib import Path
from typing import Any

import pytest

from shared.config.files import parse_site, read_site, write_yaml
from shared.config.site_data import tag_number
from shared.errors import ConfigError

SITE: dict[str, Any] = {
    "name": "north", "declared_patients": 100, "weights_dir": "w", "state_dir": "s", "head_file": "h/head",
}  # fmt: skip
PATHS = ("weights_dir", "state_dir", "head_file", "keys_dir")


def in_folder(folder: Path, raw: dict[str, Any]) -> dict[str, Any]:
    """Return a raw site whose paths are whole, as they are read from a file in this folder."""
    fields = {name: str(folder / raw[name]) for name in PATHS if name in raw}
    data = raw["data"] | {"source": str(folder / raw["data"]["source"])}
    hub = {"hub": raw["hub"] | {"ca_file": str(folder / raw["hub"]["ca_file"])}} if "hub" in raw else {}
    return raw | fields | hub | {"data": data}


def site(**dicom: Any) -> dict[str, Any]:
    """Return a raw site with these DICOM rules."""
    return SITE | {"data": {"source": "films", "dicom": dicom}}


@pytest.mark.parametrize(
    "dicom",
    [
        {"labels": "labels.csv"},
        {"labels": "labels.csv", "label_key": "accession_number", "text": "refuse_flagged"},
        {"label_tag": "StudyDescription", "label_rules": {"*": "normal"}, "keep": {"ViewPosition": ["PA"]}},
        {"label_tag": "0008,1030", "label_rules": {"*": "normal"}, "reviewed": "looked-at.txt"},
    ],
)
def test_rules_are_read_and_written_back(tmp_path: Path, dicom: dict[str, Any]) -> None:
    """Rules in YAML become a value that is written back as the same value; the order of rules stays."""
    config = parse_site(site(**dicom))
    write_yaml(tmp_path / "site.yaml", config)
    assert read_site(tmp_path / "site.yaml") == parse_site(in_folder(tmp_path, site(**dicom)))
    assert config.data.dicom is not None
    assert config.data.dicom.text == dicom.get("text", "refuse")


@pytest.mark.parametrize(
    ("dicom", "sentence"),
    [
        ({}, "labels and label_tag: neither given, allowed is one of them; correct data.dicom"),
        ({"labels": "l.csv", "label_tag": "Modality"}, "labels and label_tag: both given, allowed is one"),
        (
            {"label_tag": "Modality"},
            "label_rules has 0 rules and label_tag is 'Modality', needed are both or neither",
        ),
        ({"labels": "l.csv", "label_rules": {"a": "b"}}, "label_rules has 1 rules and label_tag is None"),
        (
            {"label_tag": "Modalty", "label_rules": {"a": "b"}},
            "label_tag is 'Modalty', allowed is a DICOM keyword",
        ),
        ({"labels": "l.csv", "keep": {"View": ["PA"]}}, "keep is 'View', allowed is a DICOM keyword"),
        ({"labels": "l.csv", "keep": {"ViewPosition": []}}, "keep has no pattern for ViewPosition"),
        ({"labels": "l.csv", "label_key": "study_uid"}, "data.dicom.label_key is 'study_uid'"),
        (
            {"labels": "l.csv", "text": "keep"},
            "data.dicom.text is 'keep'.*'refuse', 'refuse_flagged' or 'allow'",
        ),
        ({"labels": "l.csv", "blur": True}, "data.dicom.blur is True"),
    ],
)
def test_a_mistake_is_one_sentence(dicom: dict[str, Any], sentence: str) -> None:
    """Field, value, what is allowed and what to do stand in one line."""
    with pytest.raises(ConfigError, match=sentence) as caught:
        parse_site(site(**dicom))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["StudyDescription", "00081030", "0008,1030", "(0008, 1030)"])
def test_a_tag_has_a_name_and_a_number(name: str) -> None:
    """All ways to write a tag give the same number."""
    assert tag_number(name) == 0x00081030
    assert tag_number("Study") is None


@pytest.mark.parametrize("address", ["hub.example.org:8000", "192.0.2.7:1", "[2001:db8::1]:8443"])
def test_a_hub_is_a_host_and_a_port(tmp_path: Path, address: str) -> None:
    """Names, addresses and IPv6 in brackets are taken and written back; without the block a site has no hub."""
    raw = SITE | {"data": {"source": "films"}}
    assert parse_site(raw).hub is None
    raw |= {"hub": {"address": address, "ca_file": "ca.crt"}, "keys_dir": "keys"}
    write_yaml(tmp_path / "site.yaml", parse_site(raw))
    assert read_site(tmp_path / "site.yaml") == parse_site(in_folder(tmp_path, raw))


def test_paths_start_at_the_folder_of_the_file_that_holds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever a command is typed, and however the file is named there, its relative paths mean the same places."""
    folder = tmp_path / "site"
    folder.mkdir()
    raw = SITE | {"data": {"source": "films"}, "keys_dir": "/elsewhere/keys"}
    write_yaml(folder / "site.yaml", parse_site(raw))
    found = []
    for place, named in (
        (tmp_path, "site/site.yaml"),
        (folder, "site.yaml"),
        (Path("/"), folder / "site.yaml"),
    ):
        monkeypatch.chdir(place)
        config = read_site(Path(named))
        found.append((config.data.source, config.weights_dir, config.head_file, config.keys_dir))
    assert found == [(folder / "films", folder / "w", folder / "h" / "head", Path("/elsewhere/keys"))] * 3


@pytest.mark.parametrize(
    "address", ["hub.example.org", "https://hub:8000", "hub:", "2001:db8::1:80", "a b:1"]
)
def test_an_address_that_cannot_be_dialled_is_one_sentence(address: str) -> None:
    """A missing port, a URL and IPv6 without brackets name the field."""
    with pytest.raises(ConfigError, match=r"hub\.address is") as caught:
        parse_site(SITE | {"data": {"source": "films"}, "hub": {"address": address, "ca_file": "ca.crt"}})
    assert "\n" not in str(caught.value)
