"""What the ten real DICOM files and the real X-rays must give; skipped, with the reason, where the pack is absent."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.config.site_data import DicomData
from shared.config.study import Task
from shared.data.burned_in_text import num_suspects
from shared.data.dicom.picture import open_dicom
from shared.data.images import check_images, refused_images
from shared.data.sources import read_source
from tests.phi import planted_values, where_found
from tests.site_problems import source_problems

PACK = Path(os.environ.get("ROUNDS_DATA", Path(__file__).parents[5] / "shared" / "data"))
TASK = Task(classes=("normal", "pneumonia", "covid19"), image_size=64)
FILES = sorted((PACK / "dicom").glob("*.dcm"))
RULES = DicomData(label_tag="ViewPosition", label_rules={"PA": "normal", "AP": "pneumonia"})
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not FILES or not (PACK / "cxr" / "manifest.csv").is_file(),
        reason="the real image pack is not at ROUNDS_DATA (default ../shared/data)",
    ),
]


def test_all_ten_files_match_their_expected_pictures_within_one_grey_level() -> None:
    """Depths, signs, syntaxes, rescales, windows and photometrics; 04 has neither window nor 8 bits: both scaled."""
    with (PACK / "dicom" / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(FILES) == 10
    for row in rows:
        found = np.asarray(open_dicom(PACK / row["file"], "allow")).astype(float)
        with Image.open(PACK / row["expected_png"]) as image:
            expected = np.asarray(image.convert("L")).astype(float)
        if row["window"] == "none" and int(row["bits_stored"]) > 8:
            found, expected = (255 * (one - one.min()) / np.ptp(one) for one in (found, expected))
        assert np.abs(found - expected).max() <= 1, row["file"]


def test_the_folder_is_read_and_only_the_burned_in_name_is_refused() -> None:
    """Ten patients; file 10 is refused by its flag, and again by its pixels where flags are not looked at."""
    patients = read_source(PACK / "dicom", TASK, dicom=RULES, site="here")
    assert len(patients) == 10
    assert source_problems(PACK / "dicom", RULES) == {"not_dicom": 12}  # its tables and expected pictures
    assert check_images(patients, TASK).kinds == {"image_burned_in": 1}
    assert [file.name[:2] for _, file in refused_images(patients, TASK)] == ["10"]
    suspects = [path.name[:2] for path in FILES if num_suspects(np.asarray(open_dicom(path, "allow")))]
    assert suspects == ["10"]


def test_the_pack_as_a_list_gives_the_same_patients() -> None:
    """The pack's own manifest serves as a list, since it has the column file."""
    by_list = read_source(PACK / "dicom" / "manifest.csv", TASK, dicom=RULES, site="here")
    assert by_list == read_source(PACK / "dicom", TASK, dicom=RULES, site="here")


def test_no_planted_value_is_in_memory_after_reading() -> None:
    """What a reader keeps of ten headers full of planted values holds none of them."""
    patients = read_source(PACK / "dicom", TASK, dicom=RULES, site="here")
    assert where_found(planted_values(PACK), {"records": repr(patients).encode()}) == []


def test_words_are_suspected_on_real_x_rays_and_side_markers_are_not() -> None:
    """Of 568 X-rays 51 are suspects: 50 bear a word (PORTABLE, SUPINE, Bettaufnahme), by eye; no lone L or R is one."""
    with (PACK / "cxr" / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    suspects: dict[str, int] = dict.fromkeys(sorted({row["site"] for row in rows}), 0)
    for row in rows:
        with Image.open(PACK / row["file"]) as image:
            suspects[row["site"]] += num_suspects(np.asarray(image.convert("L"))) > 0
    assert suspects == {"guangzhou_wcmc": 0, "hannover_mhh": 15, "nih_cc_ap": 35, "nih_cc_pa": 1}
