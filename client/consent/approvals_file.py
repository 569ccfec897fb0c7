"""How a hospital's decisions are kept: append-only lines, each signed with its approval key and chained to the last.

In: decisions of people at the hospital. Out: the same, checked. Lines hold digests and keyed hashes only, no name and
no identifier; they stay at the site.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import Field, ValidationError

from client.ledger.head_file import HeadFile
from shared.config.values import Digest, Frozen
from shared.errors import ApprovalsError
from shared.whole_file import sync_folder

GENESIS = "0" * 64
Kind = Literal["code", "study", "patient", "key"]
Decision = Literal["approve", "withdraw", "forget", "adopt"]
_PURPOSE = b"teaching-rounds approval 1\n"


class Entry(Frozen):
    """One decision. `signature` covers everything else and, by `previous`, every decision before it."""

    number: int = Field(ge=1)
    kind: Kind
    decision: Decision
    digest: Digest = Field(description="of a bundle, a study or a key, or a patient's keyed hash")
    code_digest: Digest | None = Field(
        None, description="of a bundle: what the code itself says once it runs"
    )
    key_mark: str | None = Field(
        None, description="of a patient: tells whether the site key is still the same"
    )
    made: int = Field(ge=0, description="seconds since 1970")
    previous: Digest
    signature: str = Field("", max_length=128)

    def body(self) -> bytes:
        """Return what the signature covers."""
        fields = self.model_dump(mode="json", exclude={"signature"})
        return _PURPOSE + json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()

    @property
    def hash(self) -> str:
        """SHA-256 over everything, the signature too: what the next line and the head file hold."""
        return hashlib.sha256(self.body() + self.signature.encode()).hexdigest()


class ApprovalsFile:
    """A text file of one decision a line, with a head file on another volume."""

    def __init__(self, path: Path, head_file: Path) -> None:
        self._path = path
        self._head = HeadFile(head_file, "the record of approvals", ApprovalsError)

    def is_begun(self) -> bool:
        """Tell whether anything was ever decided here, whatever is left of it."""
        return self._path.exists() or self._head.path.exists()

    def read(self, key: Ed25519PublicKey) -> tuple[Entry, ...]:
        """Return all decisions in order; `ApprovalsError` where one is altered, missing or signed by another key."""
        if not self.is_begun():
            return ()
        with self._locked():
            return self._checked(key)

    def append(
        self, key: Ed25519PrivateKey, *, before: Ed25519PublicKey | None = None, **fields: object
    ) -> Entry:
        """Add one decision, made durable before it is returned; `before` signed the ones so far, if not this key."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._locked():
            entries = self._checked(before or key.public_key())
            previous = entries[-1].hash if entries else GENESIS
            entry = Entry.model_validate({**fields, "number": len(entries) + 1, "previous": previous})
            entry = entry.model_copy(update={"signature": key.sign(entry.body()).hex()})
            self._write(entry)
            self._head.agree([one.hash for one in (*entries, entry)])
        return entry

    def _checked(self, key: Ed25519PublicKey) -> tuple[Entry, ...]:
        entries: list[Entry] = []
        for line in self._lines():
            previous = entries[-1].hash if entries else GENESIS
            try:
                entry = Entry.model_validate_json(line)
            except ValidationError as error:
                raise self._damaged(len(entries) + 1, "altered") from error
            if (entry.number, entry.previous) != (len(entries) + 1, previous):
                raise self._damaged(len(entries) + 1, "missing, moved, or follows one that was altered")
            entries.append(entry)
        self._check_signatures(entries, key)
        self._head.agree([entry.hash for entry in entries])
        return tuple(entries)

    def _check_signatures(self, entries: list[Entry], key: Ed25519PublicKey) -> None:
        """Check all from the last change of key on: what came before it, the new key vouched for by its hash."""
        first = max((number for number, one in enumerate(entries) if one.kind == "key"), default=0)
        for entry in entries[first:]:
            try:
                key.verify(bytes.fromhex(entry.signature), entry.body())
            except (ValueError, InvalidSignature) as error:
                raise self._damaged(entry.number, "altered, or not signed with this approval key") from error

    def _lines(self) -> list[bytes]:
        """Return whole lines; what a crash left of a last one was never decided, for the head file lacks it."""
        try:
            return self._path.read_bytes().split(b"\n")[:-1] if self._path.exists() else []
        except OSError as error:
            raise ApprovalsError(f"{self._path}: cannot be read; check its volume and rights") from error

    def _write(self, entry: Entry) -> None:
        try:
            new = not self._path.exists()
            with self._path.open("ab") as file:
                content = b"" if new else self._path.read_bytes()
                file.truncate(content.rfind(b"\n") + 1)
                file.write(entry.model_dump_json().encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            if new:
                sync_folder(self._path.parent)
        except OSError as error:
            raise ApprovalsError(f"{self._path}: cannot be written; check its volume and rights") from error

    def _damaged(self, number: int, what: str) -> ApprovalsError:
        return ApprovalsError(
            f"{self._path}: decision {number} is {what}; put the record of approvals back as it was last, for "
            "until then this site answers nothing"
        )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.with_name(self._path.name + ".lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # closing the file lets it go, and so does the process's end
                yield
        except OSError as error:
            raise ApprovalsError(f"{self._path}: cannot be locked; check its volume and rights") from error
