"""A ledger that was changed, cut or lost is seen, and answers nothing."""

import sqlite3
from pathlib import Path

import pytest

from shared.errors import LedgerError
from tests.client.ledger.made_ledgers import (
    BASE,
    CAP,
    FREE,
    edit,
    filled,
    key,
    opened,
)


def test_rows_can_neither_change_nor_go(tmp_path: Path) -> None:
    """SQLite itself refuses UPDATE, DELETE and REPLACE."""
    filled(tmp_path)
    with opened(tmp_path) as ledger:
        for statement in (
            "UPDATE rows SET mechanism = NULL", "DELETE FROM rows", "DELETE FROM replies",
            "UPDATE replies SET bytes = x'00'", "REPLACE INTO replies (seq, bytes) VALUES (2, x'00')",
        ):  # fmt: skip
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                ledger._file._database.execute(statement)
        assert ledger.verify() == 6


@pytest.mark.parametrize(
    "statements",
    [
        ["DELETE FROM replies WHERE seq = 2", "DELETE FROM rows WHERE seq = 2"],
        ["DELETE FROM rows WHERE seq = 1"],
        ["UPDATE rows SET mechanism = NULL WHERE seq = 3"],
        ["UPDATE rows SET partition = 'audit' WHERE seq = 5"],
        ["UPDATE rows SET seq = 70 WHERE seq = 3", "UPDATE rows SET seq = 3 WHERE seq = 5"],
        ["DELETE FROM replies WHERE seq = 6", "DELETE FROM rows WHERE seq >= 5"],
        ["DELETE FROM replies", "DELETE FROM rows"],
    ],
    ids=["middle", "first", "edited", "moved to another partition", "reordered", "tail", "everything"],
)
def test_damage_stops_the_ledger(tmp_path: Path, statements: list[str]) -> None:
    """A deleted, edited or reordered row, or a cut tail, is seen at opening."""
    filled(tmp_path)
    edit(tmp_path, *statements)
    with pytest.raises(LedgerError, match="put back"):
        opened(tmp_path)


@pytest.mark.parametrize(
    "statement", ["UPDATE replies SET bytes = x'00' WHERE seq = 2", "DELETE FROM replies"]
)
def test_damaged_reply_is_never_sent(tmp_path: Path, statement: str) -> None:
    """A stored reply that does not match its row is found by verify and when it would be sent again."""
    filled(tmp_path)
    edit(tmp_path, statement)
    with opened(tmp_path) as ledger:
        with pytest.raises(LedgerError, match="reply"):
            ledger.verify()
        with pytest.raises(LedgerError, match="reply"):
            ledger.reserve(key(0), BASE, FREE, "train", CAP)


def test_restored_backup_is_seen(tmp_path: Path) -> None:
    """An older, consistent copy of the ledger is behind its head file."""
    filled(tmp_path)
    backup = (tmp_path / "site.ledger").read_bytes()
    with opened(tmp_path) as ledger:
        ledger.reserve(key(9), BASE, FREE, "train", CAP)
    (tmp_path / "site.ledger").write_bytes(backup)
    with pytest.raises(LedgerError, match="restored or cut"):
        opened(tmp_path)


def test_lost_ledger_is_not_begun_anew(tmp_path: Path) -> None:
    """Where the head file knows rows, a missing ledger is an error and no new one appears."""
    filled(tmp_path)
    (tmp_path / "site.ledger").unlink()
    with pytest.raises(LedgerError, match="restored or cut"):
        opened(tmp_path)
    assert not (tmp_path / "site.ledger").exists()


def test_missing_head_file_stops_the_ledger(tmp_path: Path) -> None:
    """Without its head file a ledger with rows answers nothing, also while it is open."""
    filled(tmp_path)
    head = tmp_path / "volume" / "heads"
    with opened(tmp_path) as ledger:
        head.rename(tmp_path / "away")
        with pytest.raises(LedgerError, match="missing"):
            ledger.reserve(key(9), BASE, FREE, "train", CAP)
    with pytest.raises(LedgerError, match="put the file back"):
        opened(tmp_path)
    assert not head.exists()


@pytest.mark.parametrize("kept", [-1, -30, -72])
def test_head_file_is_repaired_after_a_crash(tmp_path: Path, kept: int) -> None:
    """A last line that is torn or missing is what a crash leaves, and it is completed."""
    filled(tmp_path)
    head = tmp_path / "volume" / "heads"
    whole = head.read_text()
    head.write_text(whole[:kept] if kept > -60 else whole[: whole.rindex("6 ")])
    with opened(tmp_path):
        pass
    assert head.read_text() == whole


@pytest.mark.parametrize("change", ["two lines short", "edited", "emptied", "not text"])
def test_damaged_head_file_stops_the_ledger(tmp_path: Path, change: str) -> None:
    """More than the last line missing, or any other content, is not what a crash leaves."""
    filled(tmp_path)
    head = tmp_path / "volume" / "heads"
    lines = head.read_text().splitlines(keepends=True)
    head.write_bytes(
        {
            "two lines short": "".join(lines[:4]).encode(),
            "edited": "".join([f"1 {'0' * 64}\n", *lines[1:]]).encode(),
            "emptied": b"",
            "not text": b"\xff" * 80,
        }[change]
    )
    with pytest.raises(LedgerError, match="head_file"):
        opened(tmp_path)


def test_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    """A file that is no ledger is refused in one sentence and left as it is."""
    path = tmp_path / "site.ledger"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(LedgerError, match="put back"):
        opened(tmp_path)
    assert path.read_bytes() == b"not a database" * 100


def test_remembered_head_makes_stricter_only(tmp_path: Path) -> None:
    """A head that the ledger has or had passes; one that it never had stops the site."""
    filled(tmp_path)
    with opened(tmp_path) as ledger:
        statement = ledger.statement(1e-5, site="north", span="all runs")
        ledger.require_head(0, "0" * 64)  # of an empty ledger, which each once was
        ledger.require_head(statement.head_seq, statement.head_hash)
        ledger.reserve(key(9), BASE, FREE, "train", CAP)
        ledger.require_head(statement.head_seq, statement.head_hash)
        for seq, head in ((8, "0" * 64), (6, "0" * 64), (-1, statement.head_hash)):
            with pytest.raises(LedgerError, match="hub remembers"):
                ledger.require_head(seq, head)
