"""The preview page: it shows what the model gets, names nobody, asks nobody, and nobody else can open it."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from client.cli.program import app
from client.preview.page import private_folder, render, write_page
from client.preview.survey import Seen, files_of, outliers_of, see
from client.site.site import Site
from shared.config.files import write_yaml
from shared.data.images import load_mask, load_pixels
from shared.errors import ConfigError
from tests.dicom_files import PLANTED, dicom_file, picture, with_text

BANNER = "This page shows patients’ images. It must not leave the hospital."


def quiet(_stage: str, _done: int, _total: int) -> None:
    """Show no progress."""


class Page(HTMLParser):
    """The page's text, and every address in it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.addresses, self.tags, self.policy = "", [], [], ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.text += " " * (tag in {"td", "th", "small", "li"})
        found = dict(attrs)
        self.addresses += [
            found[name] for name in ("src", "href", "action", "data", "srcset") if found.get(name)
        ]
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = found["content"] or ""

    def handle_data(self, data: str) -> None:
        self.text += data


def pictures(html: str) -> list[np.ndarray]:
    """Decode every picture of a page."""
    return [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
        for data in re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", html)
    ]


def seen_of(site: Site, federation: Any, films: int = 3) -> Seen:
    """Read a site of the tiny federation."""
    return see(site, federation.study, films, quiet)


@pytest.fixture
def film(tiny_federation: Any, tmp_path: Path) -> Site:
    """Return a hospital with six patients, masks and lesions."""
    site: Site = tiny_federation.site("film", tmp_path / "state")
    return site


@pytest.fixture
def rows(tiny_federation: Any) -> list[str]:
    """Return the lines of that hospital's manifest."""
    return (tiny_federation.workspace / "manifests" / "film.csv").read_text().splitlines()


def with_rows(federation: Any, tmp_path: Path, lines: list[str]) -> Site:
    """Return the hospital with another manifest."""
    manifest = tmp_path / "changed.csv"
    manifest.write_text("\n".join(lines) + "\n")
    site: Site = federation.site("film", tmp_path / "state", data={"source": str(manifest)})
    return site


def test_the_sheet_holds_what_load_pixels_gives(film: Site, tiny_federation: Any) -> None:
    """Every film on the sheet is, pixel for pixel, what the model gets; outlines lie on the rim of the mask."""
    seen = seen_of(film, tiny_federation)
    shown = [look for cell in seen.sample.values() for look in cell]
    found = pictures(render(seen, quiet))
    assert len(shown) >= 6
    task = tiny_federation.study.task
    for look in shown:
        pixels = load_pixels(look.record, task)[:, :, 0]
        assert any(one.shape == pixels.shape and (one == pixels).all() for one in found)
    look = shown[0]
    mask = load_mask(look.record, task)
    place = next(
        number
        for number, one in enumerate(found)
        if one.shape == mask.shape and (one == load_pixels(look.record, task)[:, :, 0]).all()
    )
    html = render(seen, quiet)
    data = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", html)[place + 1]
    rim = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA"))[:, :, 3] > 0
    scale = rim.shape[0] // mask.shape[0]
    large = np.kron(mask, np.ones((scale, scale), bool))
    assert 0 < rim.sum() < large.sum()
    assert large[rim].mean() > 0.8


def test_counts_are_those_of_the_data(film: Site, tiny_federation: Any) -> None:
    """Patients and images by class and part of the data, and images of one patient, add up."""
    seen = seen_of(film, tiny_federation)
    page = Page(render(seen, quiet))
    assert len({look.number for look in seen.looks}) == 6
    assert {look.part for look in seen.looks} == {"train", "evaluation"}
    assert f"6patients{len(seen.looks)}images" in re.sub(r"\s", "", page.text)
    for name in tiny_federation.study.task.classes:
        assert re.search(rf"{name}\s*3 patients", page.text)


def test_the_choice_does_not_depend_on_other_patients(
    tiny_federation: Any, tmp_path: Path, rows: list[str]
) -> None:
    """Without its first patient the sheet shows the same films of all others."""
    gone = rows[1].split(",")[3]
    fewer = [rows[0], *(line for line in rows[1:] if line.split(",")[3] != gone)]
    chosen = []
    for lines in (rows, fewer):
        seen = seen_of(with_rows(tiny_federation, tmp_path, lines), tiny_federation, films=100)
        chosen.append(
            [one.record for cell in sorted(seen.sample) for one in seen.sample[cell] if gone != one.record.patient_id]
        )  # fmt: skip
    assert chosen[0] == chosen[1]
    few = seen_of(with_rows(tiny_federation, tmp_path, rows), tiny_federation, films=1)
    assert all(len(cell) == 1 for cell in few.sample.values())


def test_nobody_is_named_and_nobody_is_asked(
    film: Site, tiny_federation: Any, rows: list[str], tmp_path: Path
) -> None:
    """No identifier and no path is in the page, no address leads out of it, and its policy allows none."""
    html = render(seen_of(film, tiny_federation), quiet)
    page = Page(html)
    for line in rows[1:]:
        file, _, _, patient = line.split(",")[:4]
        assert patient not in html
        assert Path(file).name not in html
    assert str(tmp_path) not in html
    assert str(tiny_federation.workspace) not in html
    assert all(one.startswith(("data:image/png;base64,", "#")) for one in page.addresses)
    assert not {"script", "link", "iframe", "object", "form", "video"} & set(page.tags)
    assert not re.findall(r"https?://|url\(|@import", html)
    assert page.policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")
    assert BANNER in page.text


def test_what_comes_from_outside_is_escaped(film: Site, tiny_federation: Any) -> None:
    """A class may be called anything; it stays text."""
    task = tiny_federation.study.task.model_dump() | {"classes": ["normal", "<script>opacity"]}
    study = tiny_federation.changed(task=task | {"positive": None})
    data = film.config.data.model_dump() | {"label_map": {"opacity": "<script>opacity"}}
    site = tiny_federation.site("film", film.config.state_dir.parent, data=data)
    page = Page(render(see(site, study, 2, quiet), quiet))
    assert "script" not in page.tags
    assert "<script>opacity" in page.text


def test_an_outlier_is_shown_and_named_by_its_number(
    tiny_federation: Any, tmp_path: Path, rows: list[str]
) -> None:
    """A white picture with one dark dot, and of another size, is farthest by contrast, brightness or size."""
    odd = tmp_path / "odd.png"
    pixels = np.full((90, 40), 255, np.uint8)
    pixels[:2, :2] = 0
    Image.fromarray(pixels).save(odd)
    cells = rows[1].split(",")
    changed = ",".join([str(odd), *cells[1:5], "", *["" for _ in cells[6:]]])
    site = with_rows(tiny_federation, tmp_path, [rows[0], changed, *rows[2:]])
    seen = seen_of(site, tiny_federation)
    (look,) = [one for one in seen.looks if one.record.file == odd]
    for measure in ("brightness", "size", "shape"):
        assert seen.outliers[measure][0].look == look
    page = Page(render(seen, quiet))
    told = re.search(
        r"(Brighter|Smaller|Larger|Narrower|Flatter) than the others\s+1 image\s+(\d+)", page.text
    )
    assert told is not None
    assert int(told[2]) == look.number
    assert [odd.resolve()] == [
        one for one in files_of(site, tiny_federation.study, look.number) if one == odd
    ]


def test_other_patients_come_before_second_images(film: Site, tiny_federation: Any) -> None:
    """Films of one row are of different patients while there are any."""
    seen = seen_of(film, tiny_federation, films=2)
    assert any(look.image == 2 for look in seen.looks)
    for (label, part), cell in seen.sample.items():
        there = {one.number for one in seen.looks if (one.record.label, one.part) == (label, part)}
        assert len({look.number for look in cell}) == min(2, len(there))


def test_the_worst_outlier_comes_first(film: Site, tiny_federation: Any) -> None:
    """Of brightnesses 100 to 129, 250 and 10 the 250 is farthest from the median, then the 10."""
    look = seen_of(film, tiny_federation).looks[0]
    looks = [replace(look, number=n, brightness=float(n)) for n in (10, *range(100, 130), 250)]
    assert [one.look.number for one in outliers_of(looks)["brightness"]] == [250, 10]


def test_a_broken_image_and_a_broken_mask_are_counted_by_kind(
    tiny_federation: Any, tmp_path: Path, rows: list[str]
) -> None:
    """Each kind has a row with its number, its patient's number and what to do."""
    cells, others = rows[1].split(","), rows[2].split(",")
    lines = [
        rows[0],
        ",".join([str(tmp_path / "gone.png"), *cells[1:]]),
        ",".join([*others[:5], str(tmp_path / "gone-mask.png"), *others[6:]]),
        *rows[3:],
    ]
    seen = seen_of(with_rows(tiny_federation, tmp_path, lines), tiny_federation)
    assert {kind: len(looks) for kind, looks in seen.problems.items()} == {
        "image_missing": 1,
        "mask_missing": 1,
    }
    text = re.sub(r"\s+", " ", Page(render(seen, quiet)).text)
    assert "image_missing 1 the file does not exist patient 1 restore it or remove it from the data" in text
    assert "mask_missing 1 the mask does not exist" in text


@pytest.fixture
def dicom(tiny_federation: Any, tmp_path: Path) -> Site:
    """Return a hospital with DICOM files: one with a printed line, one flagged, one flagged and unreadable."""
    folder = tmp_path / "films"
    for number in range(4):
        stored = picture(number, height=256, width=256, top=120).astype(np.uint8)
        tags: dict[str, Any] = {"PatientID": f"PLANTED-{number}", "StudyDescription": "clear"}
        if number == 1:
            stored = with_text(stored, "PORTABLE 12:30", 12, (40, 100))
        if number > 1:
            tags["BurnedInAnnotation"] = "YES"
        if number == 3:
            tags["PixelData"] = b"too short"
        dicom_file(folder / f"{number}.dcm", stored, **tags)
    (folder / "x.dcm").write_bytes(b"no DICOM")
    rules = {"label_tag": "StudyDescription", "label_rules": {"*clear*": "normal"}}
    site: Site = tiny_federation.site(
        "film", tmp_path / "state", data={"source": str(folder), "dicom": rules}
    )
    return site


def test_suspected_writing_is_shown_with_its_place(dicom: Site, tiny_federation: Any) -> None:
    """A refused picture is shown, the line framed where it was printed; a flagged one is shown whole."""
    seen = seen_of(dicom, tiny_federation)
    printed, flagged = seen.suspects
    assert (printed.problem, flagged.problem) == ("image_text", "image_burned_in")
    left, top, right, bottom = printed.lines[0]
    assert 34 <= left <= 46
    assert 96 <= top <= 108
    assert right > left + 50
    assert bottom < 124
    html = render(seen, quiet)
    assert f"left:{100 * left / 256:.2f}%;top:{100 * top / 256:.2f}%" in html
    text = re.sub(r"\s+", " ", Page(html).text)
    assert (
        f"Patient {flagged.number}: the header says that identifying text is burned in, and no line" in text
    )
    assert "image_unreadable 2" in text
    assert not [value for value in PLANTED if value in html]
    assert "not divided yet" in text


def test_reading_changes_nothing(dicom: Site, tiny_federation: Any, tmp_path: Path) -> None:
    """No state comes to be: no key, no table, no ledger."""
    seen_of(dicom, tiny_federation)
    assert not (tmp_path / "state").exists()


def preview(folder: Path, site: Site, study: Any, *words: object) -> Result:
    """Run the command."""
    write_yaml(folder / "site.yaml", site.config)
    write_yaml(folder / "study.yaml", study)
    files = [str(folder / "site.yaml"), str(folder / "study.yaml")]
    return CliRunner().invoke(app, ["preview", *files, *map(str, words)])


def test_the_command_writes_one_private_file(film: Site, tiny_federation: Any, tmp_path: Path) -> None:
    """Mode 0600 in a folder of mode 0700, whatever was there; the words on the screen say that it must not leave."""
    out = tmp_path / "made" / "here"
    for _ in range(2):
        done = preview(tmp_path, film, tiny_federation.study, "--out", out, "--films", 1)
        assert done.exit_code == 0, done.output
        assert "must not leave the hospital" in done.stdout
        assert "Reading images" in done.stderr
        assert [(one.name, one.stat().st_mode & 0o777) for one in out.iterdir()] == [("preview.html", 0o600)]
        assert out.stat().st_mode & 0o777 == 0o700
        assert BANNER in (out / "preview.html").read_text()


def test_a_folder_that_others_can_open_is_refused(film: Site, tiny_federation: Any, tmp_path: Path) -> None:
    """Before anything is read; the folder keeps its mode and stays empty. A file in its place is refused too."""
    out = tmp_path / "open"
    out.mkdir(mode=0o755)
    done = preview(tmp_path, film, tiny_federation.study, "--out", out)
    assert done.exit_code == 1
    assert "mode 755), allowed is a folder of your own with mode 700" in done.stderr
    assert out.stat().st_mode & 0o777 == 0o755
    assert not list(out.iterdir())
    with pytest.raises(ConfigError, match="which is no folder"):
        private_folder(tmp_path / "site.yaml")
    assert "--out is missing" in preview(tmp_path, film, tiny_federation.study).stderr


def test_a_number_is_turned_into_files(
    film: Site, tiny_federation: Any, tmp_path: Path, rows: list[str]
) -> None:
    """--who prints the paths of one patient of the page and writes nothing; a number too large is a mistake."""
    patient = sorted({line.split(",")[3] for line in rows[1:]})[1]
    own = [line.split(",")[0] for line in rows[1:] if line.split(",")[3] == patient]
    done = preview(tmp_path, film, tiny_federation.study, "--who", 2)
    assert done.stdout.split() == sorted(own)
    assert "allowed is 1 to 6" in preview(tmp_path, film, tiny_federation.study, "--who", 7).stderr


def test_a_page_that_cannot_be_finished_leaves_the_old_one(tmp_path: Path) -> None:
    """Text that has no bytes in UTF-8 stops the writing; the page before stays, and no part of the new one."""
    write_page(tmp_path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_page(tmp_path, "new \ud800")
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("preview.html", "old")]
