"""What lies in a folder, by sort."""

from pathlib import Path

import pytest

from client.setup.proposals.contents import evenly, look_into
from shared.errors import ConfigError, DataError
from tests.dicom_files import dicom_file, picture


def test_files_are_sorted_by_what_they_are(tmp_path: Path) -> None:
    """A DICOM file without an ending is one; what no reader takes is counted with its ending and a remedy."""
    for name in ("a.PNG", "b/c.jpg", "t.csv", "x.npz", "old.xlsx", "notes.docx", "film.webp", ".hidden.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    dicom_file(tmp_path / "IM00001.dcm", picture()).rename(tmp_path / "IM00001")
    found = look_into(tmp_path)
    assert [one.name for one in found.images] == ["a.PNG", "c.jpg"]
    assert ([one.name for one in found.dicom], len(found.tables), len(found.arrays)) == (["IM00001"], 1, 1)
    assert found.passed_over.kinds == {"other_file": 1, "other_format": 1, "system_file": 1}
    said = "\n".join(found.sentences())
    assert "2 pictures (.png 1, .jpg 1)" in said
    assert "1 DICOM files (no ending 1)" in said
    assert "1 spreadsheets, which are not read: save them as 'CSV UTF-8'" in said
    assert "other_format 1 (.webp 1): a picture of a format that is not read here" in said
    assert not found.is_empty


@pytest.mark.parametrize("files", [(), ("readme.md", "scan.pdf")])
def test_a_folder_of_other_files_is_empty(tmp_path: Path, files: tuple[str, ...]) -> None:
    """Nothing that a reader takes is nothing, however many files there are."""
    for name in files:
        (tmp_path / name).write_bytes(b"x")
    assert look_into(tmp_path).is_empty


def test_a_path_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    """Whether it is missing or out of sight cannot be told apart, so both are named."""
    with pytest.raises(
        ConfigError, match=r"where there is nothing that this account may see; check path and rights"
    ):
        look_into(tmp_path / "none")


def test_a_folder_that_may_not_be_listed_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's refusal is told as the reader tells it; root may list everything, so it is refused here by hand."""

    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(DataError, match="cannot be listed, needed is a folder that may be read"):
        look_into(tmp_path)


@pytest.mark.parametrize(("number", "most"), [(0, 4), (3, 4), (4, 4), (10, 4), (1000, 7)])
def test_some_are_spread_over_all(number: int, most: int) -> None:
    """From the first on, at equal distances, never more than asked, each at most once."""
    found = evenly(range(number), most)
    assert len(found) == min(number, most) == len(set(found))
    assert found == sorted(found)
    assert number == 0 or found[0] == 0
    assert number <= most or found[-1] >= number - number // most - 1
