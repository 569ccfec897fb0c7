"""`rounds-site setup` by options alone: no terminal, no question, no waiting."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from client.cli.program import app
from shared.config.files import read_site
from tests.dicom_files import dicom_file, picture

WHOLE = ("--patients", "1", "--map", "opacity=pneumonia", "--declared", "10", "--yes")


def run(site: Path, *options: str) -> Result:
    """Run setup where nobody sits at a terminal."""
    return CliRunner().invoke(app, ["setup", str(site), *options])


def test_every_question_has_an_option(site: Path, films: Path, study: Path) -> None:
    """With all answers given the file is filled in, the map confirmed, and check says what is missing."""
    found = run(site, "--source", str(films), "--study", str(study), *WHOLE, "--offline")
    config = read_site(site)
    assert (config.data.source, config.declared_patients) == (films, 10)
    assert config.data.label_map == {"NORMAL": "normal", "opacity": "pneumonia"}
    assert config.data.patient_pattern is not None
    assert "8 patients with 16 pictures can be used (normal 4, pneumonia 4)." in found.output
    assert f"$ rounds-site check {site} {study} --offline" in found.output
    assert "label map: complete: 2 labels, 0 images left out by it" in found.output
    assert (found.exit_code, "fail  teacher: " in found.output) == (1, True)
    assert "1. repair what says fail above" in found.output


@pytest.mark.parametrize(
    ("lacking", "sentence"),
    [
        ("--source", "--source is missing and there is no terminal to ask at: Folder of the images"),
        ("--patients", "--patients is missing and there is no terminal to ask at: How are patients told apart"),
        ("--map", "--map LABEL=CLASS is missing and there is no terminal to ask at: class of 'opacity'"),
        ("--declared", "--declared is missing and there is no terminal to ask at: Declared training patients"),
        ("--yes", "to ask at: Which of these is it (proposed: folders; --yes takes it); give it"),
    ],
)  # fmt: skip
def test_a_missing_answer_is_one_sentence(
    site: Path, films: Path, study: Path, lacking: str, sentence: str
) -> None:
    """Nothing waits, nothing is guessed that a person must say, and nothing is written."""
    before = site.read_bytes()
    given = ["--source", str(films), "--study", str(study), *WHOLE]
    place = given.index(lacking)
    del given[place : place + (1 if lacking == "--yes" else 2)]
    found = run(site, *given)
    assert found.exit_code == 1
    assert sentence in found.output
    assert found.stderr.count("Error: ") == 1
    assert site.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--map", "opacity=lung"), "class 'lung' for label 'opacity' is none of the study, allowed is 'normal'"),
        (("--map", "opactiy=pneumonia"), "label 'opactiy' is not in the data, which holds 'NORMAL', 'opacity'"),
        (("--map", "opacity=pneumonia", "--patients", "9"), "the answer is '9', allowed is a number above, 'each'"),
        (("--map", "opacity=pneumonia", "--patients", "(person"), "no regular expression"),
        (("--map", "opacity=pneumonia", "--kind", "dicom"), "kind is 'dicom', allowed is folders"),
        (("--map", "opacity=pneumonia", "--declared", "ten"), "--declared is 'ten', allowed is a whole number"),
        (("--map", "opacity=pneumonia", "--cap-delta", "0.5"), "--cap-delta is 0.5, allowed is at most 0.01"),
    ],
)  # fmt: skip
def test_a_wrong_answer_is_one_sentence(
    site: Path, films: Path, study: Path, options: tuple[str, ...], sentence: str
) -> None:
    """Value, what is allowed, and nothing written."""
    before = site.read_bytes()
    given = ("--patients", "each", "--declared", "10", *options, "--yes")
    found = run(site, "--source", str(films), "--study", str(study), *given)
    assert (found.exit_code, sentence in found.stderr) == (1, True), found.stderr
    assert site.read_bytes() == before


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ((), "which holds no picture, DICOM file or table (it is empty)"),
        (("readme.docx", "x.pdf"), "which holds no picture, DICOM file or table (other_file 1 (.docx 1)"),
        (
            ("a.png",),
            "its pictures lie in no class folders, and no table names them; put them into <class>/<picture>",
        ),
        (("a.npz",), "a raw MedMNIST .npz, whose rows are named and left out by looking at other rows"),
        (("t.csv",), "no column of its tables names files that are there"),
    ],
)
def test_a_folder_that_cannot_be_read_says_what_to_do(
    site: Path, tmp_path: Path, files: tuple[str, ...], sentence: str
) -> None:
    """Empty, other files, loose pictures, a raw array, a table of files that are elsewhere."""
    (tmp_path / "data").mkdir()
    for name in files:
        (tmp_path / "data" / name).write_bytes(b"file,label\nx.png,a\n" if name.endswith(".csv") else b"")
    before = site.read_bytes()
    found = run(site, "--source", str(tmp_path / "data"), *WHOLE)
    assert (found.exit_code, sentence in found.stderr) == (1, True), found.stderr
    assert site.read_bytes() == before


def test_a_table_of_odd_columns_is_named_in_site_yaml(site: Path, films: Path, study: Path) -> None:
    """Its own columns stand in data.columns, and the reader finds every patient by them."""
    rows = "".join(
        f"films/{path.parent.name}/{path.name};{path.parent.name};{path.name.split('_')[0]};m\n"
        for path in sorted(films.rglob("*.png"))
    )
    table = films.parent / "list.csv"
    table.write_text("Bild;Befund;Patient-Nr;Geschlecht\n" + rows.replace("Patient-Nr", "Fall"))
    table.write_text(table.read_text().replace("Patient-Nr", "Fallnummer"))
    found = run(
        site,
        "--source",
        str(table),
        "--study",
        str(study),
        "--accept-map",
        "--declared",
        "10",
        "--yes",
        "--offline",
    )
    assert "8 patients with 16 pictures can be used (normal 4, pneumonia 4)." in found.output
    data = read_site(site).data
    assert data.columns == {"file": "Bild", "label": "Befund", "patient_id": "Fallnummer"}
    assert "warn  data: " not in found.output


def test_a_dicom_tree_with_a_tag(site: Path, tmp_path: Path, study: Path) -> None:
    """Rules of the tag and the label map are written; what was said of text before stays."""
    for number in range(6):
        kind = ("Thorax o.B.", "Thorax Pneumonie")[number % 2]
        folder = tmp_path / "dicom" / f"P{number // 2}"
        folder.mkdir(parents=True, exist_ok=True)
        dicom_file(
            folder / f"IM{number}", picture(number), PatientID=f"P{number // 2}", StudyDescription=kind
        )
    site.write_text(
        site.read_text().replace(
            "  # label_map",
            "  dicom: {label_tag: Modality, label_rules: {a: b}, text: refuse_flagged}\n  # label_map",
        )
    )
    answers = (
        "--map",
        "Thorax o.B.=normal",
        "--map",
        "Thorax Pneumonie=pneumonia",
        "--declared",
        "10",
        "--yes",
    )
    found = run(site, "--source", str(tmp_path / "dicom"), "--study", str(study), *answers, "--offline")
    assert "3 patients with 6 pictures can be used (normal 3, pneumonia 3)." in found.output
    dicom = read_site(site).data.dicom
    assert dicom is not None
    assert (dicom.label_tag, dicom.text) == ("StudyDescription", "refuse_flagged")
    assert sorted(dicom.label_rules) == ["Thorax Pneumonie", "Thorax o.B."]


def test_a_label_is_left_out_only_when_it_is_said(site: Path, films: Path, study: Path) -> None:
    """A label that fits no class stops setup; LABEL= leaves it out, and site.yaml says so."""
    (films / "fracture").mkdir()
    next((films / "NORMAL").iterdir()).rename(films / "fracture" / "person9_a.png")
    given = ("--source", str(films), "--study", str(study), *WHOLE, "--offline")
    found = run(site, *given)
    assert "--map LABEL=CLASS is missing" in found.stderr
    assert "class of 'fracture', of normal, pneumonia" in found.stderr
    run(site, *given, "--map", "fracture=")
    assert read_site(site).data.label_map["fracture"] == ""


def test_run_again_it_starts_from_what_is_there(site: Path, films: Path, study: Path) -> None:
    """Source, pattern, label map, number and cap of before are taken by --yes alone, and nothing is written."""
    run(site, "--source", str(films), "--study", str(study), *WHOLE, "--cap-epsilon", "6", "--offline")
    before = site.read_bytes()
    found = run(site, "--study", str(study), "--yes", "--offline")
    assert f"{site} says all of this already; nothing to write." in found.output
    assert site.read_bytes() == before


def test_a_study_that_the_cap_cannot_pay_is_not_paid_by_habit(site: Path, films: Path, study: Path) -> None:
    """The larger cap is proposed with its reason, and must be given: --yes does not raise a hospital's cap."""
    site.write_text(site.read_text().replace("epsilon: 10.0", "epsilon: 1.0"))
    found = run(site, "--source", str(films), "--study", str(study), *WHOLE)
    assert "The cap of 1 would stop it before its end; 4 pays for all of it." in found.output
    assert "--cap-epsilon is missing" in found.stderr
    run(site, "--source", str(films), "--study", str(study), *WHOLE, "--cap-epsilon", "4", "--offline")
    assert read_site(site).cap.epsilon == 4.0


def test_preview_is_written_where_a_folder_is_given(site: Path, films: Path, study: Path) -> None:
    """The same page as `rounds-site preview` writes, and the line that makes it."""
    page = films.parent / "page"
    found = run(
        site, "--source", str(films), "--study", str(study), *WHOLE, "--preview", str(page), "--offline"
    )
    assert f"$ rounds-site preview {site} {study} --out {page}" in found.output
    assert "<img" in (page / "preview.html").read_text()
