"""What the audit store costs: records chained, sealed, projected and durable, beside the same bytes merely inserted.

Each case fills a store of its own in one thread. `core s` is processor time, which a busy machine changes least; the
plain insert writes the same bodies to one table of an SQLite file with the same durability. PostgreSQL's own processes
are not in it.

    python tests/benchmarks/audit_store.py --json store.json
"""

import argparse
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from server.store.append import append_batch
from server.store.blobs import Blob, put_blobs
from server.store.chain import Record
from server.store.database import open_store
from server.store.rebuild import rebuild
from server.store.record_kinds import EventBody
from server.store.transactions import writing
from server.store.verification.verify import verify
from tests.audit_records import BIG_UID, big_study, records_of
from tests.postgres import missing_postgres, new_database, postgres_server

BATCH = 500
Linked = Sequence[tuple[Record, tuple[Blob, ...]]]


def cases() -> dict[str, Linked]:
    """Return 5,000 small records, and a study of 40 rounds and 50 sites with its maps and images."""
    small = ((EventBody(event="told", what=f"number {number}"), ()) for number in range(5000))
    study = big_study(rounds=40, sites=50, classes=20, images=100)
    return {"5,000 events": list(records_of(small, BIG_UID)), "a study": list(records_of(study, BIG_UID))}


def measure(name: str, linked: Linked, where: str) -> dict[str, Any]:
    """Fill a new store and look at it; seconds by the clock and of the processor."""
    engine = open_store(where)
    row: dict[str, Any] = {"case": name, "database": engine.dialect.name, "records": len(linked)}
    with writing(engine).begin() as connection:
        put_blobs(connection, [blob for _, blobs in linked for blob in blobs])
    records = [record for record, _ in linked]

    def append() -> None:
        for start in range(0, len(records), BATCH):
            append_batch(engine, "run:bench", records[start : start + BATCH])

    def anew() -> None:
        with writing(engine).begin() as connection:
            rebuild(connection)

    def look() -> None:
        found = verify(engine)
        if found.findings:
            raise SystemExit(f"{name}: {found.findings[0]}")

    for what, act in (("append", append), ("verify", look), ("rebuild", anew)):
        row |= {f"{what}_{key}": value for key, value in timed(act).items()}
    engine.dispose()
    with tempfile.TemporaryDirectory() as scratch:
        row |= {f"plain_{key}": value for key, value in timed(lambda: plain(records, Path(scratch))).items()}
    row["over_plain"] = row["append_cpu_seconds"] / row["plain_cpu_seconds"]
    return row


def plain(records: Sequence[Record], folder: Path) -> None:
    """Insert the bodies and nothing else."""
    with closing(sqlite3.connect(folder / "plain.sqlite", isolation_level=None)) as database:
        database.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE bodies (body TEXT)"
        )
        for start in range(0, len(records), BATCH):
            database.execute("BEGIN IMMEDIATE")
            some = [(record.body,) for record in records[start : start + BATCH]]
            database.executemany("INSERT INTO bodies VALUES (?)", some)
            database.execute("COMMIT")


def timed(act: Callable[[], None]) -> dict[str, float]:
    """Return how long something took."""
    clock, processor = time.monotonic(), time.process_time()
    act()
    return {"seconds": time.monotonic() - clock, "cpu_seconds": time.process_time() - processor}


def main() -> None:
    """Measure both cases on both databases and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    given, prepared = parser.parse_args(), cases()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, linked in prepared.items():
            rows.append(measure(name, linked, str(Path(scratch) / f"{len(rows)}.sqlite")))
    if why := missing_postgres():
        print(why)
    else:
        with postgres_server() as url:
            rows += [measure(name, linked, new_database(url)) for name, linked in prepared.items()]
    for row in rows:
        print(
            f"{row['case']:>12} {row['database']:>10}: {row['records']} records; append {row['append_seconds']:.1f} s "
            f"({row['append_cpu_seconds']:.2f} core s, {row['over_plain']:.0f} times the plain insert), verify "
            f"{row['verify_cpu_seconds']:.2f} core s, rebuild {row['rebuild_cpu_seconds']:.2f} core s"
        )
    if given.json:
        given.json.write_text(json.dumps({"batch": BATCH, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
