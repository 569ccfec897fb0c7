"""What is written into site.yaml, and what stays."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from client.identity.site_folder import make_site
from client.setup.changes import SiteFile
from shared.config.files import read_site
from shared.config.site_data import SiteData
from shared.errors import ConfigError


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return the site.yaml of a new site."""
    make_site(tmp_path / "site", "north")
    return tmp_path / "site" / "site.yaml"


def data(**fields: Any) -> SiteData:
    """Return `data` with these fields."""
    return SiteData.model_validate({"source": "/films"} | fields)


def test_what_is_not_asked_stays_as_it_was(site: Path) -> None:
    """Comments, order and other fields are the person's; what changes is told line by line."""
    before = site.read_text().splitlines()
    file = SiteFile(site)
    file.fill_in(data(), 350, 10.0, 1e-5)
    changes = file.changes()
    file.write()
    after = site.read_text().splitlines()
    assert [line for line in before if line not in after] == [line[1:] for line in changes if line[0] == "-"]
    assert [line for line in after if line not in before] == [line[1:] for line in changes if line[0] == "+"]
    assert len(changes) == 4
    config = read_site(site)
    assert (config.data.source, config.declared_patients) == (Path("/films"), 350)


def test_the_same_answers_change_nothing(site: Path) -> None:
    """A second run with the same answers has nothing to write."""
    answers = (data(label_map={"a": "b"}, columns={"file": "x"}, patient_pattern="(p)"), 350, 8.0, 1e-6)
    SiteFile(site).fill_in(*answers)
    first = SiteFile(site)
    first.fill_in(*answers)
    first.write()
    second = SiteFile(site)
    second.fill_in(*answers)
    assert second.changes() == []


def test_another_kind_takes_the_rules_of_the_old_one_away(site: Path) -> None:
    """Rules of DICOM beside class folders would be read as DICOM still."""
    rules = {"label_tag": "StudyDescription", "label_rules": {"*": "x"}}
    for answer in (data(dicom=rules), data(patient_pattern="(p)")):
        file = SiteFile(site)
        file.fill_in(answer, 350, 10.0, 1e-5)
        file.write()
    assert read_site(site).data == data(patient_pattern="(p)")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    some.dictionaries(
        some.text(
            some.characters(
                exclude_categories=("Cs", "Cc", "Cn", "Co"), exclude_characters="\ufeff\u2028\u2029"
            ),
            min_size=1,
            max_size=9,
        )
        | some.sampled_from(["no", "yes", "0", "1e-5", "null", "a: b", "#x", "*", "'", '"', "~"]),
        some.sampled_from(["normal", "no", "", "0"]),
        max_size=4,
    )
)
def test_every_label_is_read_back_as_it_is(site: Path, label_map: dict[str, str]) -> None:
    """Whatever a hospital calls its classes, YAML takes none of it for a number, a truth value or a sign."""
    file = SiteFile(site)
    file.fill_in(data(label_map=label_map), 350, 10.0, 1e-5)
    file.write()
    assert read_site(site).data.label_map == label_map


@pytest.mark.parametrize("delta", [1e-5, 1e-12, 3.3e-7])
def test_small_numbers_are_written_with_digits(site: Path, delta: float) -> None:
    """A delta such as 1e-12 would be text to a reader of YAML 1.1."""
    file = SiteFile(site)
    file.fill_in(data(), 350, 7.5, delta)
    file.write()
    assert "e-" not in site.read_text().split("cap:")[1].split("}")[0]
    assert (read_site(site).cap.epsilon, read_site(site).cap.delta) == (7.5, delta)


def test_a_file_that_no_command_could_read_is_not_written(site: Path) -> None:
    """A mistake elsewhere in the file is told by its field, before anything is written."""
    site.write_text(site.read_text().replace("show_cap: false", "show_cap: perhaps"))
    before = site.read_bytes()
    file = SiteFile(site)
    file.fill_in(data(), 350, 10.0, 1e-5)
    with pytest.raises(ConfigError, match="show_cap is 'perhaps'"):
        file.write()
    assert site.read_bytes() == before


def test_a_file_that_somebody_else_changed_is_not_overwritten(site: Path) -> None:
    """Who edits it while questions are asked keeps what was typed."""
    file = SiteFile(site)
    file.fill_in(data(), 350, 10.0, 1e-5)
    site.write_text(site.read_text() + "# a remark\n")
    with pytest.raises(ConfigError, match="was changed while questions were asked"):
        file.write()
    assert site.read_text().endswith("# a remark\n")


def test_a_site_that_was_not_made_is_told(tmp_path: Path) -> None:
    """Keys come first, so init does."""
    with pytest.raises(ConfigError, match="make the site with `rounds-site init` first"):
        SiteFile(tmp_path / "site.yaml")
