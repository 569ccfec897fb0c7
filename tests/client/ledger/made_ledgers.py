"""Small ledgers in a folder, and what tests of them ask and charge."""

import sqlite3
from pathlib import Path

import pytest

from client.ledger.ledger import Ledger, RequestKey
from shared.config.site import Cap
from shared.errors import ErrorCode, Refusal
from shared.privacy.mechanisms import Declared, PoissonGaussian

CAP = Cap(epsilon=10.0, delta=1e-5)
ROUND = PoissonGaussian(noise_multiplier=1.0, sample_rate=0.1, steps=10)
FREE = Declared(epsilon=0.5, delta=0)  # quick to account, for tests that are not about epsilon
BASE, OTHER_BASE = "a" * 64, "b" * 64


def key(round_: int, study: str = "study-1", kind: str = "update") -> RequestKey:
    """Return a request's key."""
    return RequestKey(study_uid=study, round=round_, kind=kind)


def opened(folder: Path) -> Ledger:
    """Open the ledger of a folder."""
    return Ledger.open(folder / "site.ledger", folder / "volume" / "heads")


def filled(folder: Path) -> None:
    """Leave a ledger of three answered requests: six rows."""
    with opened(folder) as ledger:
        for number in range(3):
            ledger.commit(ledger.reserve(key(number), BASE, FREE, "train", CAP), b"reply")


def edit(folder: Path, *statements: str) -> None:
    """Change the file behind the ledger's back, as only a person with full rights can."""
    database = sqlite3.connect(folder / "site.ledger", isolation_level=None)
    for table in ("rows", "replies"):
        for action in ("UPDATE", "DELETE"):
            database.execute(f"DROP TRIGGER no_{action}_{table}")
    for statement in statements:
        database.execute(statement)
    database.close()


def code_of(refused: pytest.ExceptionInfo[Refusal]) -> ErrorCode:
    """Return the code that would cross to the hub."""
    return refused.value.code
