"""A whole study on real DICOM files: afterwards no value of their headers is in any file, log, cache or message."""

import csv
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydicom import dcmread
from typer.testing import CliRunner

from client.cli.program import app as site_app
from deploy.simulation.local_superlink import run_app, superlink
from server.cli.program import app as hub_app
from server.evaluation.finish_run import finish_run
from server.evaluation.run_records import About
from server.flower.run_control import COMPLETED
from server.runs.run_folder import RunFolder, read_lines
from tests.phi import contents, planted_values, where_found

REPOSITORY = Path(__file__).resolve().parents[2]
PACK = Path(os.environ.get("ROUNDS_DATA", REPOSITORY.parent / "shared" / "data"))
SECONDS = 240
CLASS = {"normal": "normal", "pneumonia": "opacity", "covid19": "opacity"}
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not (PACK / "dicom" / "phi_values.csv").is_file(),
        reason="the real image pack is not at ROUNDS_DATA (default ../shared/data)",
    ),
]


def labels(folder: Path, key: str, keyword: str) -> str:
    """Write a hospital's table of labels by a tag; returns its path."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{key}.csv"
    with (PACK / "dicom" / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = [
            (str(dcmread(PACK / row["file"])[keyword].value), row["label"]) for row in csv.DictReader(file)
        ]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([(key, "label"), *rows])
    return str(path)


def hospitals(workspace: Path, tables: Path) -> None:
    """Give the three prepared sites the pack's DICOM files, each with labels of another origin."""
    by_uid = {"labels": labels(tables, "sop_instance_uid", "SOPInstanceUID")}
    by_number = {
        "labels": labels(tables, "accession_number", "AccessionNumber"), "label_key": "accession_number"
    }  # fmt: skip
    by_tag = {"label_tag": "ViewPosition", "label_rules": {"PA": "normal", "AP": "opacity"}}
    for name, rules in (("bedside", by_uid), ("children", by_number), ("film", by_tag)):
        path = workspace / "sites" / f"{name}.yaml"
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        raw["data"] = {
            "source": str(PACK / "dicom"), "dicom": rules, "label_map": CLASS | {"opacity": "opacity"},
            "max_unreadable": 0.2,
        }  # fmt: skip
        path.write_text(yaml.safe_dump(raw | {"declared_patients": 10}), encoding="utf-8")


def test_no_planted_value_is_found_after_a_full_run(
    tiny_federation: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Study by Flower, report, check and predict: files, logs, caches and messages are searched, Flower's too."""
    caplog.set_level(logging.DEBUG)
    workspace, folder = tmp_path / "workspace", RunFolder(tmp_path / "run")
    shutil.copytree(tiny_federation.workspace, workspace)
    hospitals(workspace, tmp_path / "tables")
    folder.path.mkdir()
    places: dict[str, bytes] = {}

    config = {"workspace": str(workspace), "output": str(folder.path), "site-state": "", "threads": 1}
    with superlink(folder.path / "superlink.log") as link:
        status = run_app(
            link, REPOSITORY, config, num_sites=3, cpus_per_site=1, tick=lambda: None,
            deadline_seconds=SECONDS,
        )  # fmt: skip
        places |= dict(contents([link.scratch]))  # gone afterwards
    assert status == COMPLETED
    rounds = list(read_lines(folder.rounds))
    assert all(line["answered"] == ["bedside", "children", "film"] for line in rounds[1:])
    finish_run(folder, workspace, About("made", "tiny"), lambda *_: None)
    files = [str(path) for path in sorted((PACK / "dicom").glob("*.dcm"))]
    model = next(folder.path.glob("*.safetensors"))
    for app, command in (
        (site_app, ["check", workspace / "sites" / "film.yaml", folder.study]),
        (site_app, ["refused", workspace / "sites" / "film.yaml", folder.study]),
        (hub_app, ["predict", model, *files, "--maps", tmp_path / "run" / "maps", "--json"]),
    ):
        places[f"output of {command[0]}"] = CliRunner().invoke(app, list(map(str, command))).output.encode()
    assert b"image_burned_in" in places["output of predict"]
    places |= dict(contents([folder.path, workspace]))
    output = capfd.readouterr()
    places |= {"log": caplog.text.encode(), "streams": (output.out + output.err).encode()}
    for needed in ("ledger.sqlite", "targets.sqlite", "report.html", "superlink.log", "predictions.npz"):
        assert any(needed in name for name in places), needed
    values = planted_values(PACK)
    assert where_found(values, places) == []
    films = {name: content for name, content in contents([PACK / "dicom"]) if name.endswith(".dcm")}
    control = {value for _, value in where_found(values, films)}
    assert len(control) > 150  # the search finds what is there; one file of the ten is deflated
