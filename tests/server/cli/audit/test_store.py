"""`rounds-hub store` says whether a store is whole, and keeps it up."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from server.cli.program import app
from server.store.database import open_store
from server.store.intake.outbox import Outbox
from tests.audit_records import SMALL_UID, fill, running_study


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Fill a store."""
    path = tmp_path / "store.sqlite"
    engine = open_store(path)
    fill(engine, running_study(2))
    engine.dispose()
    return path


def run(*words: object) -> Result:
    """Run `rounds-hub store`."""
    return CliRunner().invoke(app, ["store", *map(str, words)])


def change(store: Path, statement: str) -> None:
    """Change a store as its owner."""
    with closing(sqlite3.connect(store)) as database:
        database.execute(statement)
        database.commit()


def test_a_whole_store_is_told_with_its_head(store: Path) -> None:
    """The head that is printed is taken by the next look."""
    first = run("verify", "--store", store)
    assert (first.exit_code, first.stderr) == (0, "")
    head = first.stdout.split("Head ")[1].strip()
    assert "records and" in first.stdout
    assert ": whole. Head " in first.stdout
    assert run("verify", "--store", store, "--head", head).exit_code == 0
    other = run("verify", "--store", store, "--head", head[:-1] + ("0" if head[-1] != "0" else "1"))
    assert other.exit_code == 1
    assert "is not here with the seal that was kept" in other.stdout


def test_a_changed_figure_ends_with_status_1_until_tables_are_made_anew(store: Path) -> None:
    """A finding is a line and an exit status; `rebuild` takes it away where evidence is whole."""
    change(store, "UPDATE rounds SET value = 0.99 WHERE round = 1")
    found = run("verify", "--store", store)
    assert found.exit_code == 1
    assert "FOUND table rounds: its rows from record number " in found.stdout
    assert "NOT WHOLE, 1 found." in found.stdout
    assert run("rebuild", "--store", store).stdout.startswith("Made anew from ")
    assert run("verify", "--store", store).exit_code == 0


def test_a_missing_trigger_is_made_by_migrate(store: Path) -> None:
    """What guards evidence is put back by the command that the finding names."""
    change(store, "DROP TRIGGER records_update")
    found = run("verify", "--store", store)
    assert "FOUND trigger records_update: is missing or changed" in found.stdout
    assert "rounds-hub store migrate makes it anew" in found.stdout
    assert run("migrate", "--store", store).exit_code == 0
    assert run("verify", "--store", store).exit_code == 0


def test_runs_are_taken_in(tmp_path: Path) -> None:
    """A folder of runs fills a store that is made for it."""
    (tmp_path / "results" / "first").mkdir(parents=True)
    Outbox(tmp_path / "results" / "first").add(SMALL_UID, *(body for body, _ in running_study(1)))
    store = tmp_path / "store.sqlite"
    done = run("ingest", tmp_path / "results", "--store", store)
    assert done.exit_code == 0, done.output
    assert done.stdout == f"run:first: {len(running_study(1))} new records\n"
    assert run("verify", "--store", store).exit_code == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ("verify", "--store", "nowhere.sqlite"),
            "store nowhere.sqlite: no such file; give the store's path or URL",
        ),
        (("rebuild", "--store", "nowhere.sqlite"), "no such file"),
        (
            ("verify", "--head", "7"),
            "head is '7', allowed is NUMBER:SEAL as `rounds-hub store verify` prints it",
        ),
        (("ingest", "."), "no run in '.' has records for the store; give another folder"),
    ],
    ids=lambda words: words[0] if isinstance(words, tuple) else "",
)
def test_a_mistake_is_one_sentence(
    words: tuple[str, ...], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a person got wrong is told on standard error, and no file is made."""
    monkeypatch.chdir(tmp_path)
    failed = run(*words)
    assert failed.exit_code == 1
    assert failed.stderr.startswith("Error: ")
    assert says in failed.stderr
    assert list(tmp_path.iterdir()) == []
