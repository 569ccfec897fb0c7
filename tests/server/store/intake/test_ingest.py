"""Run folders reach the store whole and once, and what does not fit is an incident."""

import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from server.store.intake.folder_tail import Tail
from server.store.intake.ingest import find_outboxes, ingest, ingest_all
from server.store.intake.outbox import FILE, Blob, Outbox
from server.store.record_kinds import EventBody, FilmBody, ModelBody
from server.store.schema import BLOBS, EVENTS, RECORDS, SOURCES, STUDIES
from server.store.verification.verify import verify
from shared.errors import ChainConflictError, StoreError
from tests.audit_records import SMALL_UID, Entry, running_study, small_study

Count = Callable[[sa.Table], int]


def run_folder(path: Path, entries: list[Entry]) -> Outbox:
    """Write a study into the outbox of a run folder, some records at a time."""
    path.mkdir(parents=True, exist_ok=True)
    outbox = Outbox(path)
    for start in range(0, len(entries), 40):
        some = entries[start : start + 40]
        outbox.add(
            SMALL_UID, *(body for body, _ in some), blobs=[blob for _, blobs in some for blob in blobs]
        )
    return outbox


def incidents(store: sa.Engine) -> list[str]:
    """Return the incidents that a page shows."""
    with store.connect() as connection:
        return list(connection.execute(sa.select(EVENTS.c.what).where(EVENTS.c.kind == "incident")).scalars())


def test_a_run_reaches_the_store_whole_and_once(store: sa.Engine, tmp_path: Path, count: Count) -> None:
    """All records and blobs come; a second time nothing is new; the chain is the outbox's own."""
    outbox = run_folder(tmp_path / "run", small_study())
    assert ingest(store, outbox, "run:run") == len(small_study())
    assert ingest(store, outbox, "run:run") == 0
    assert count(BLOBS) == len(outbox.blob_digests())
    with store.connect() as connection:
        head = connection.execute(sa.select(SOURCES.c.seq, SOURCES.c.chain)).one()
    assert tuple(head) == (outbox.head().seq, outbox.head().chain)
    assert verify(store).findings == ()


def test_what_is_added_later_is_taken_alone(store: sa.Engine, tmp_path: Path) -> None:
    """A run that goes on is taken from where the store has it."""
    entries = small_study()
    outbox = run_folder(tmp_path / "run", entries[:100])
    assert ingest(store, outbox, "run:run") == 100
    run_folder(tmp_path / "run", entries[100:])
    assert ingest(store, outbox, "run:run") == len(entries) - 100


def test_a_folder_of_runs_is_looked_through(tmp_path: Path) -> None:
    """Each run folder is one source, also the one that `latest` points to; others are passed by."""
    for name in ("b-run", "a-run"):
        run_folder(tmp_path / name, running_study(0))
    (tmp_path / "workspaces").mkdir()
    (tmp_path / "store.sqlite").touch()
    (tmp_path / "latest").symlink_to("b-run")
    assert [source for source, _ in find_outboxes(tmp_path)] == ["run:a-run", "run:b-run"]
    assert [source for source, _ in find_outboxes(tmp_path / "latest")] == ["run:b-run"]
    with pytest.raises(StoreError, match="is no folder; give a run's folder or the folder of all runs"):
        find_outboxes(tmp_path / "nowhere")


def test_a_renamed_run_is_the_same_source(store: sa.Engine, tmp_path: Path, count: Count) -> None:
    """A folder that was moved goes on with its chain, and nothing is told twice."""
    ingest(store, run_folder(tmp_path / "run", running_study(3)), "run:run")
    before = count(RECORDS)
    moved = tmp_path / "kept"
    (tmp_path / "run").rename(moved)
    Outbox(moved).add(SMALL_UID, EventBody(event="told"))
    assert ingest_all(store, moved) == 1
    assert (count(RECORDS), count(SOURCES)) == (before + 1, 1)


def test_a_changed_outbox_is_an_incident_told_once(store: sa.Engine, tmp_path: Path, count: Count) -> None:
    """A record that was changed after the store had it is told once, however often it is looked at."""
    outbox = run_folder(tmp_path / "run", running_study(2))
    ingest(store, outbox, "run:run")
    with closing(sqlite3.connect(outbox.path)) as database:
        database.execute("UPDATE records SET chain = ? WHERE seq = ?", ("0" * 64, outbox.head().seq))
        database.commit()
    before = count(RECORDS)
    for _ in range(3):
        with pytest.raises(ChainConflictError, match="another one stands in the store"):
            ingest(store, outbox, "run:run")
    assert incidents(store) == [f"run:run: record {before} of run:run: another one stands in the store"]
    assert count(RECORDS) == before + 1


def test_an_outbox_put_back_from_a_copy_is_an_incident(store: sa.Engine, tmp_path: Path) -> None:
    """An outbox that ends before what the store has lost records: the store keeps them and says so."""
    outbox = run_folder(tmp_path / "run", running_study(1))
    shutil.copy(outbox.path, tmp_path / "copy")
    run_folder(tmp_path / "run", small_study()[-3:])
    ingest(store, outbox, "run:run")
    shutil.copy(tmp_path / "copy", outbox.path)
    with pytest.raises(ChainConflictError, match=r"which ends with record \d+; was it put back from a copy"):
        ingest(store, outbox, "run:run")
    assert len(incidents(store)) == 1


def test_a_run_that_does_not_fit_holds_up_no_other(store: sa.Engine, tmp_path: Path) -> None:
    """Beside a broken outbox, and a copied study, the other run arrives."""
    run_folder(tmp_path / "good", small_study())
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / FILE).write_bytes(b"no database" * 1000)
    outbox = Outbox(tmp_path / "zcopy")
    outbox.path.parent.mkdir()
    outbox.add(SMALL_UID, EventBody(event="told", what="by another run"))
    assert ingest_all(store, tmp_path) == len(small_study())
    told = sorted(incidents(store))
    assert told[0] == "run:broken: outbox.sqlite: cannot be read as an outbox (DatabaseError)"
    assert told[1].startswith(
        f"run:zcopy: record 1 of run:zcopy: is of study {SMALL_UID}, which run:good has told of"
    )


def test_an_outbox_refuses_what_no_store_would_take(tmp_path: Path) -> None:
    """A blob of another kind, or one that is named and not given, is refused while it is written: nothing is kept."""
    outbox = Outbox(tmp_path)
    weights = Blob(b"weights", "application/octet-stream")
    with pytest.raises(StoreError, match="media_type is 'text/plain'"):
        outbox.add(SMALL_UID, EventBody(event="told"), blobs=[Blob(b"x", "text/plain")])
    with pytest.raises(StoreError, match="is named by a record and was not given with it; give it"):
        outbox.add(SMALL_UID, EventBody(event="told"), ModelBody(weights=weights.digest, num_bytes=7))
    assert outbox.head().seq == 0
    outbox.add(SMALL_UID, ModelBody(weights=weights.digest, num_bytes=7), blobs=[weights])
    outbox.add(SMALL_UID, FilmBody(film=weights.digest, num_images=1))  # given before
    assert outbox.head().seq == 2


def test_results_that_may_only_be_read_are_taken(
    store: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run folder on a volume that is mounted to be read reaches the store, and no file is added to it."""
    outbox = run_folder(tmp_path / "run", running_study(1))
    before = sorted((tmp_path / "run").iterdir())
    monkeypatch.setattr("os.access", lambda *_: False)  # what root is told of a volume mounted so
    assert ingest(store, outbox, "run:run") == outbox.head().seq > 0
    assert sorted((tmp_path / "run").iterdir()) == before


def test_two_that_take_in_the_same_run_leave_it_once(store: sa.Engine, tmp_path: Path, count: Count) -> None:
    """Two processes that follow one folder end with each record once."""
    outbox = run_folder(tmp_path / "run", small_study())
    failed: list[Exception] = []

    def take() -> None:
        try:
            ingest(store, outbox, "run:run")
        except Exception as error:  # noqa: BLE001 - any failure is told
            failed.append(error)

    threads = [threading.Thread(target=take) for _ in range(3)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert failed == []
    assert count(RECORDS) == len(small_study())


def test_a_running_study_is_followed(store: sa.Engine, tmp_path: Path) -> None:
    """What a study writes while the store follows it arrives without being asked for, until the block is left."""
    outbox = run_folder(tmp_path / "run", running_study(1))

    def rounds() -> int:
        with store.connect() as connection:
            return connection.execute(sa.select(STUDIES.c.rounds_done)).scalar_one()

    with Tail(store, tmp_path, seconds=0.05):
        assert rounds() == 1
        run_folder(tmp_path / "run", running_study(4)[len(running_study(1)) :])
        end = time.monotonic() + 60
        while rounds() < 4 and time.monotonic() < end:
            time.sleep(0.05)
        assert rounds() == 4
    outbox.add(SMALL_UID, *(body for body, _ in small_study()[-1:]))
    with store.connect() as connection:
        assert connection.execute(sa.select(sa.func.max(RECORDS.c.seq))).scalar_one() < outbox.head().seq


def test_a_look_at_what_was_not_written_since_opens_nothing(
    store: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred finished runs cost a second's look a hundred file times, no database."""
    run_folder(tmp_path / "run", running_study(1))
    tail = Tail(store, tmp_path)
    assert tail.look() > 0
    tail.look()  # closing the outbox moved its times once
    monkeypatch.setattr(
        "server.store.intake.folder_tail.ingest", lambda *_: pytest.fail("an outbox was opened")
    )
    assert tail.look() == 0


def test_a_look_that_fails_does_not_end_the_following(
    store: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that cannot be written for a while is written by a later look."""
    run_folder(tmp_path / "run", running_study(0))
    failing = threading.Event()

    def flaky(*arguments: object) -> int:
        if failing.is_set():
            failing.clear()
            raise sa.exc.OperationalError("INSERT", {}, Exception("disk full"))
        return ingest(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("server.store.intake.folder_tail.ingest", flaky)
    with Tail(store, tmp_path, seconds=0.05):
        failing.set()
        run_folder(tmp_path / "run", running_study(1)[len(running_study(0)) :])
        end = time.monotonic() + 60
        done = 0
        while done < 1 and time.monotonic() < end:
            with store.connect() as connection:
                done = connection.execute(sa.select(STUDIES.c.rounds_done)).scalar_one()
            time.sleep(0.05)
    assert done == 1
    assert not failing.is_set()
