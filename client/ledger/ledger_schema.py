"""What a site's ledger looks like on disk: its rows, their hashes, and the SQL that forbids change.

In: public parameters of requests. Out: rows and the SQL that stores them. Nothing in a row is computed from
patients; only the stored reply bytes are, and they have already left by the door.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

from pydantic import Field, TypeAdapter

from shared.config.values import Frozen
from shared.privacy.mechanisms import Mechanism

GENESIS = "0" * 64
VERSION = 1
ENROLMENT = (
    "enrol"  # kind of request of the first look for a study's enrolment; later ones are enrol_2, enrol_3
)
RowKind = Literal["reserve", "commit", "declared"]
_MECHANISM: TypeAdapter[Mechanism] = TypeAdapter(Mechanism)

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS rows (
        seq INTEGER PRIMARY KEY, kind TEXT NOT NULL CHECK (kind IN ('reserve', 'commit', 'declared')),
        study_uid TEXT NOT NULL, round INTEGER NOT NULL, request_kind TEXT NOT NULL,
        base_digest TEXT NOT NULL, partition TEXT NOT NULL, mechanism TEXT, reply_digest TEXT,
        previous TEXT NOT NULL UNIQUE, hash TEXT NOT NULL UNIQUE
    ) STRICT""",
    """CREATE TABLE IF NOT EXISTS replies (
        seq INTEGER PRIMARY KEY REFERENCES rows (seq), bytes BLOB NOT NULL
    ) STRICT""",
    # one reservation and one answer for each request, one row for each weights file
    """CREATE UNIQUE INDEX IF NOT EXISTS once ON rows (kind, study_uid, round, request_kind)
        WHERE kind != 'declared'""",
    "CREATE UNIQUE INDEX IF NOT EXISTS declared_once ON rows (base_digest) WHERE kind = 'declared'",
    *(
        f"""CREATE TRIGGER IF NOT EXISTS no_{action}_{table} BEFORE {action} ON {table}
        BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"""
        for table in ("rows", "replies")
        for action in ("UPDATE", "DELETE")
    ),
    f"PRAGMA user_version = {VERSION}",
)
INSERT = """INSERT INTO rows (seq, kind, study_uid, round, request_kind, base_digest, partition, mechanism,
    reply_digest, previous, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""


class RequestKey(Frozen):
    """What makes a request unique: the study (kept on resume), the round and the kind of answer."""

    study_uid: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    round: int = Field(ge=0, le=10**9)
    kind: str = Field(pattern=r"^[a-z_]{1,40}$")


@dataclass(frozen=True)
class Row:
    """One line of the ledger; `hash` covers every other field and, by `previous`, every row before it."""

    seq: int
    kind: RowKind
    study_uid: str
    round: int
    request_kind: str
    base_digest: str
    partition: str
    mechanism: str | None
    reply_digest: str | None
    previous: str
    hash: str

    @property
    def key(self) -> tuple[str, int, str]:
        """The request that the row belongs to."""
        return self.study_uid, self.round, self.request_kind

    @property
    def is_enrolment(self) -> bool:
        """Whether the row is of an enrolment, whose base is the study's digest."""
        return self.request_kind.partition("_")[0] == ENROLMENT

    def computed_hash(self) -> str:
        """SHA-256 of the row's canonical JSON without `hash`."""
        content = asdict(self)
        del content["hash"]
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def read_rows(database: sqlite3.Connection) -> list[Row]:
    """Return all rows in order."""
    return [Row(*values) for values in database.execute("SELECT * FROM rows ORDER BY seq")]


def enrolments(rows: Iterable[Row], study_digest: str) -> int:
    """Return how often enrolment for a study has looked at the patients, answered or not."""
    return sum(row.is_enrolment and row.kind == "reserve" and row.base_digest == study_digest for row in rows)


def mechanism_text(mechanism: Mechanism | None) -> str | None:
    """Return a mechanism's canonical JSON; None stays None."""
    if mechanism is None:
        return None
    return json.dumps(mechanism.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))


def read_mechanism(text: str) -> Mechanism:
    """Return the mechanism of a row."""
    return _MECHANISM.validate_json(text)
