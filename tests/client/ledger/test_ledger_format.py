"""What a ledger is on disk stays what it is: rows, hashes, limits; a later program opens it or says that it cannot."""

import hashlib
import json
import sqlite3
from pathlib import Path

import pytest
from pydantic import ValidationError

from client.ledger.ledger import Ledger, RequestKey
from shared.config.site import Cap
from shared.errors import LedgerError
from shared.privacy.mechanisms import Declared

CAP = Cap(epsilon=10.0, delta=1e-5)
BASE, WEIGHTS = "a" * 64, "b" * 64


def opened(folder: Path) -> Ledger:
    """Open the ledger of a folder, in folders that are not there yet."""
    return Ledger.open(folder / "state" / "of" / "ledger", folder / "other" / "volume" / "heads")


def test_a_row_and_its_hash_are_these(tmp_path: Path) -> None:
    """A hash is SHA-256 of the other fields as JSON, sorted, without blanks; before the first stand 64 zeros."""
    with opened(tmp_path) as ledger:
        asked = RequestKey(study_uid="study-1", round=3, kind="update")
        paid = ledger.reserve(asked, BASE, Declared(epsilon=0.5, delta=0), "train", CAP)
        ledger.commit(paid, b"reply")
        ledger.record_declared(WEIGHTS, 0.25, 0)
    heads = (tmp_path / "other" / "volume" / "heads").read_text().splitlines()
    common = f'{{"base_digest":"{BASE}","kind":"%s","mechanism":%s,"partition":"train","previous":"%s",'
    common += '"reply_digest":%s,"request_kind":"update","round":3,"seq":%d,"study_uid":"study-1"}'
    reply = f'"{hashlib.sha256(b"reply").hexdigest()}"'
    first = common % (
        "reserve",
        json.dumps('{"delta":0.0,"epsilon":0.5,"kind":"declared"}'),
        "0" * 64,
        "null",
        1,
    )
    second = common % ("commit", "null", hashlib.sha256(first.encode()).hexdigest(), reply, 2)
    third = (
        f'{{"base_digest":"{WEIGHTS}","kind":"declared","mechanism":'
        + json.dumps('{"delta":0.0,"epsilon":0.25,"kind":"declared"}')
        + f',"partition":"all","previous":"{hashlib.sha256(second.encode()).hexdigest()}","reply_digest":null,'
        '"request_kind":"declared","round":0,"seq":3,"study_uid":""}'
    )
    rows = enumerate((first, second, third), start=1)
    assert heads == [f"{number} {hashlib.sha256(row.encode()).hexdigest()}" for number, row in rows]


def test_a_ledger_of_a_later_format_is_left_alone(tmp_path: Path) -> None:
    """The format is 1; a file that says 2 is refused by both numbers, and keeps saying 2."""
    with opened(tmp_path):
        pass
    database = sqlite3.connect(tmp_path / "state" / "of" / "ledger")
    assert database.execute("PRAGMA user_version").fetchone() == (1,)
    database.execute("PRAGMA user_version = 2")
    with pytest.raises(LedgerError, match="has format 2, allowed is 1"):
        opened(tmp_path)
    assert database.execute("PRAGMA user_version").fetchone() == (2,)
    database.close()


@pytest.mark.parametrize(
    ("field", "ends", "beyond"),
    [
        ("study_uid", ("a", "Z_-9" * 16), ("", "a" * 65, "a b", "a/b")),
        ("round", (0, 1_000_000_000), (-1, 1_000_000_001)),
        ("kind", ("a", "a_" * 20), ("", "a" * 41, "A", "a1")),
    ],
)
def test_a_request_is_named_within_limits(
    field: str, ends: tuple[object, ...], beyond: tuple[object, ...]
) -> None:
    """Names of 1 to 64 and 1 to 40 letters, rounds from 0 to a billion."""
    key = {"study_uid": "study-1", "round": 1, "kind": "update"}
    for value in ends:
        assert getattr(RequestKey.model_validate(key | {field: value}), field) == value
    for value in beyond:
        with pytest.raises(ValidationError, match=field):
            RequestKey.model_validate(key | {field: value})
