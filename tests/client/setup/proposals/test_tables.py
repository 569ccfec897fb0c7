"""Columns of a table by what their values are."""

from pathlib import Path

import pytest

from client.setup.proposals.tables import look_at_table

ODD = (
    "Bild;Geschlecht;Befund;Fall-Nr;Alter\n"
    "films/a.png;m;Pneumonie;K1;40\nfilms/b.png;w;o.B.;K1;40\nfilms/c.png;m;Pneumonie;K2;51\n"
    "films/d.png;w;o.B.;K3;33\n"
)


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Return a folder with four files that tables may name."""
    (tmp_path / "films").mkdir()
    for name in "abcd":
        (tmp_path / "films" / f"{name}.png").write_bytes(b"")
    return tmp_path


def table(folder: Path, text: str) -> Path:
    """Write a table."""
    (folder / "t.csv").write_text(text, encoding="utf-8")
    return folder / "t.csv"


def test_odd_columns_are_known_by_their_values(films: Path) -> None:
    """Files are those that are there; a label repeats and is neither sex nor age; a number in the name of a case."""
    found = look_at_table(table(films, ODD.replace("Fall-Nr", "Fallnummer")))
    assert (found.files, found.labels, found.patients) == (("Bild",), ("Befund",), ("Fallnummer",))
    assert (found.num_rows, found.num_values("Fallnummer"), found.share_found) == (4, 3, 1.0)
    assert found.named(file="Bild", label="Befund", patient_id="Fallnummer") == {
        "file": "Bild", "label": "Befund", "patient_id": "Fallnummer",
    }  # fmt: skip


def test_columns_by_our_own_names_need_no_naming(films: Path) -> None:
    """Spelling aside, a column called as ours is ours."""
    found = look_at_table(
        table(films, "File,LABEL,Patient ID\nfilms/a.png,x,1\nfilms/b.png,x,1\nfilms/c.png,y,2\n")
    )
    assert found.named(file=found.files[0], label="LABEL", patient_id=found.patients[0]) == {}


def test_files_that_are_not_there_make_no_column(films: Path) -> None:
    """Half of the cells must name files; names without an ending are none."""
    assert not look_at_table(table(films, "f,label\nx.png,a\ny.png,a\nfilms/a.png,b\n")).files
    assert not look_at_table(table(films, "f,label\na,x\nb,x\nc,y\n")).files


def test_a_study_says_which_column_is_the_label(films: Path) -> None:
    """Of two columns of few values the one that holds the study's classes comes first, whatever it is called."""
    text = "file,diagnosis,arm\n" + "".join(
        f"films/{one}.png,{kind},{arm}\n"
        for one, kind, arm in zip("abcd", "xxyy", ("normal", "opacity") * 2, strict=True)
    )
    assert look_at_table(table(films, text)).labels == ("diagnosis", "arm")
    assert look_at_table(table(films, text), ("Normal", "Opacity")).labels == ("arm", "diagnosis")


def test_measured_numbers_and_remarks_are_no_labels(films: Path) -> None:
    """Numbers with a point, one value for all, and as many values as rows are passed by; grades 0 and 1 are labels."""
    rows = "".join(f"films/{one}.png,{n}.5,{n},{n % 2},same\n" for n, one in enumerate("abcd"))
    found = look_at_table(table(films, "file,dose,number,dr,remark\n" + rows))
    assert found.labels == ("dr",)


def test_splits_and_sites_are_told(films: Path) -> None:
    """Words of a split that no reader takes, and the hospitals of a table of several."""
    text = "file,label,split,site\nfilms/a.png,x,Training,north\nfilms/b.png,x,test,south\nfilms/c.png,y,,north\n"
    found = look_at_table(table(films, text))
    assert (found.split_words(), found.sites()) == (("Training",), ("north", "south"))
