"""Which patients train and which evaluate: fixed at first import, never recomputed.

A manifest's own split decides where there is one, else an HMAC of the identifier under the site key. Train,
evaluation and audit patients are disjoint, so what they spend composes in parallel. Identifiers are stored
as HMACs only; the table never leaves.
"""

import hashlib
import hmac
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Literal, get_args

from shared.config.kinds import Partition
from shared.data.patients import Patient

_OF_SPLIT: dict[str, Partition] = {"train": "train", "val": "evaluation", "test": "audit"}
_SHARES: tuple[tuple[float, Partition], ...] = ((0.8, "train"), (0.9, "evaluation"), (1.0, "audit"))


def assign_partitions(
    patients: Iterable[Patient], table: Path, site_key: bytes
) -> dict[Partition, list[Patient]]:
    """Sort patients into partitions, writing down the ones seen for the first time."""
    parts: dict[Partition, list[Patient]] = {part: [] for part in get_args(Partition)}
    with sqlite3.connect(table) as database:
        database.execute(
            "CREATE TABLE IF NOT EXISTS partitions (patient TEXT PRIMARY KEY, part TEXT NOT NULL)"
        )
        known = dict(database.execute("SELECT patient, part FROM partitions").fetchall())
        for patient in patients:
            name = _name(site_key, patient.patient_id)
            if name not in known:
                known[name] = _first_partition(patient, name)
                database.execute("INSERT INTO partitions VALUES (?, ?)", (name, known[name]))
            parts[known[name]].append(patient)
    database.close()
    return parts


def remove_patient(table: Path, site_key: bytes, patient_id: str) -> Partition | None:
    """Delete a patient's row and return where the patient was; None where nobody of this name was ever seen."""
    if not table.is_file():
        return None
    name = _name(site_key, patient_id)
    with closing(sqlite3.connect(table, timeout=60)) as database, database:
        database.execute("PRAGMA secure_delete = ON")
        found = database.execute("SELECT part FROM partitions WHERE patient = ?", (name,)).fetchone()
        database.execute("DELETE FROM partitions WHERE patient = ?", (name,))
    return None if found is None else found[0]


def was_seen(table: Path, site_key: bytes, patient_id: str) -> bool:
    """Tell whether a patient of this name was ever divided here; writes nothing."""
    if not table.is_file():
        return False
    with closing(sqlite3.connect(f"{table.resolve().as_uri()}?mode=ro", uri=True, timeout=60)) as database:
        name = _name(site_key, patient_id)
        return database.execute("SELECT 1 FROM partitions WHERE patient = ?", (name,)).fetchone() is not None


def known_partitions(
    patients: Iterable[Patient], state_dir: Path
) -> list[tuple[Partition | Literal["not divided yet"], Patient]]:
    """Say where each patient stands, in order; writes nothing, and divides nobody before the site's key is made."""
    key, table = state_dir / "site.key", state_dir / "partitions.sqlite"
    secret = key.read_bytes() if key.is_file() else None
    known: dict[str, Partition] = {}
    if table.is_file():
        with closing(sqlite3.connect(f"{table.resolve().as_uri()}?mode=ro", uri=True)) as database:
            known = dict(database.execute("SELECT patient, part FROM partitions").fetchall())
    found: list[tuple[Partition | Literal["not divided yet"], Patient]] = []
    for patient in patients:
        if secret is not None:
            name = _name(secret, patient.patient_id)
            found.append((known.get(name) or _first_partition(patient, name), patient))
        else:
            split = patient.images[0].split
            found.append((_OF_SPLIT[split] if split else "not divided yet", patient))
    return found


def _name(site_key: bytes, patient_id: str) -> str:
    return hmac.new(site_key, patient_id.encode(), hashlib.sha256).hexdigest()


def _first_partition(patient: Patient, name: str) -> Partition:
    split = patient.images[0].split
    if split:
        return _OF_SPLIT[split]
    place = int(name[:13], 16) / 16**13
    return next(part for share, part in _SHARES if place < share)
