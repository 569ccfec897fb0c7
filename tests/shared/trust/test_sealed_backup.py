"""Backups that are sealed with a passphrase."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from shared.errors import ConfigError, TrustError
from shared.trust.private_files import open_to_others
from shared.trust.sealed_backup import database_bytes, put_back, seal, unseal

PHRASE = "twelve mild winters"


def test_only_the_passphrase_opens_a_backup() -> None:
    """Files come back byte for byte; no secret stands in the sealed file, and another passphrase opens nothing."""
    files = {"keys/node.key": b"a private key" * 9, "site.yaml": b""}
    sealed = seal(files, PHRASE)
    assert unseal(sealed, PHRASE) == files
    assert b"private" not in sealed
    assert b"node.key" not in sealed
    with pytest.raises(TrustError, match="does not open"):
        unseal(sealed, PHRASE + " ")


def test_an_altered_or_cut_backup_is_refused() -> None:
    """One changed byte, a missing end and a foreign file are each told."""
    sealed = seal({"a": b"1"}, PHRASE)
    changed = bytearray(sealed)
    changed[60] ^= 1
    for wrong in (bytes(changed), sealed[:-5]):
        with pytest.raises(TrustError, match="does not open"):
            unseal(wrong, PHRASE)
    with pytest.raises(TrustError, match="no backup in format 1"):
        unseal(b"PK", PHRASE)


def test_a_short_passphrase_is_refused() -> None:
    """Eleven characters protect nothing."""
    with pytest.raises(ConfigError, match="has 11 characters, allowed are 12 or more"):
        seal({}, "a" * 11)


def test_files_go_into_an_empty_folder_only(tmp_path: Path) -> None:
    """What is put back is closed to others unless public, and never falls on files that are there."""
    put_back({"keys/node.key": b"k", "north.pub": b"p"}, tmp_path / "new", public=(".pub",))
    assert not open_to_others(tmp_path / "new/keys/node.key")
    assert open_to_others(tmp_path / "new/north.pub")
    with pytest.raises(ConfigError, match="holds files already"):
        put_back({"keys/node.key": b"older"}, tmp_path / "new")
    assert (tmp_path / "new/keys/node.key").read_bytes() == b"k"


def test_a_database_is_copied_as_of_one_moment(tmp_path: Path) -> None:
    """Rows of a transaction that is still open are not in the copy; committed ones are."""
    path = tmp_path / "a.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")  # committed rows are then not in the file itself
        writer.execute("CREATE TABLE t (x)")
        writer.execute("INSERT INTO t VALUES (1)")
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO t VALUES (2)")
        copied = database_bytes(path)
        writer.execute("COMMIT")
    (tmp_path / "b.sqlite").write_bytes(copied)
    with closing(sqlite3.connect(tmp_path / "b.sqlite")) as copy:
        assert copy.execute("SELECT x FROM t").fetchall() == [(1,)]
