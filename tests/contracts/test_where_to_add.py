"""What CONTRIBUTING says of where to add what is true: one of each is added here in the place that it names."""

import re
from pathlib import Path

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from server.evaluation.report_records import gate_body
from server.metrics.gate_result import Check, GateResult
from server.presentation.gate_checks import check_lines
from shared.config.naming import Naming
from shared.config.study import Task
from shared.data.patients import Row
from shared.data.sources import KINDS, Kind, read_source
from shared.terminal.command_table import commands, program_of
from tests.terminal import REPOSITORY

extra = typer.Typer()


@extra.command()
def greet() -> None:
    """Say a word."""
    typer.echo("hello")


def test_a_kind_of_data_source_is_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of lines FILE LABEL PATIENT is read once `KINDS` has it."""
    Image.new("L", (32, 32)).save(tmp_path / "a.png")
    (tmp_path / "films.lst").write_text("a.png normal p1\n")

    def read(path: Path, _task: Task, _naming: Naming) -> list[Row]:
        rows = (line.split() for line in path.read_text().splitlines())
        return [Row(path.parent / file, label, "", patient, "train") for file, label, patient in rows]

    kind = Kind(lambda path: path.suffix == ".lst", read, lambda *_: ())
    monkeypatch.setitem(KINDS, "list of films", kind)
    task = Task(classes=("normal", "opacity"), image_size=32)
    (patient,) = read_source(tmp_path / "films.lst", task, site="north")
    assert (patient.patient_id, patient.site, patient.label) == ("p1", "north", 0)


def test_a_command_is_one_line_of_the_table() -> None:
    """It is listed with its line, and runs."""
    program = program_of("Of a test.", *commands(f"{__name__}:extra", {"greet": "Say a word."}))
    runner = CliRunner()
    assert "Say a word." in runner.invoke(program, ["--help"]).output
    assert runner.invoke(program, ["greet"]).output == "hello\n"


def test_a_check_of_the_gate_is_one_function() -> None:
    """What the gate says of a new check reaches record and report with its limit and side, nothing else being told."""
    leak = Check(name="leak", value=0.1, threshold=0.2, side="most", passed=True, sentence="It is small.")
    gate = GateResult(verdict="accepted", sentence="Accepted.", checks=(leak,))
    assert gate_body(gate).checks[0].model_dump() == leak.model_dump()
    (row,) = check_lines(gate.checks)
    assert (row.name, row.value, row.limit, row.state) == ("leak", "0.100", "at most 0.2", "passed")


def test_each_row_names_a_place_that_is_there() -> None:
    """Every file and folder of the table exists."""
    table = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Where to add what")[2]
    places = re.findall(r"`((?:client|server|shared|deploy)/[\w/.-]+)`", table)
    assert len(places) > 20
    assert [one for one in places if not (REPOSITORY / one).exists()] == []
