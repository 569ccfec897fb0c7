"""What this hospital has decided: which app bundles and studies it approves, and whom it leaves out.

In: the record of decisions, and digests that somebody asks about. Out: yes, no, or nothing said. The last decision on
a digest counts. Decisions never leave; the signatures that follow from them do (`client/consent/bundle_signing.py`).
"""

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.consent.approvals_file import ApprovalsFile, Decision, Entry, Kind
from client.identity.approval_key import code_key, load_approval_key


@dataclass(frozen=True)
class Approvals:
    """The decisions as they stand now; opened anew for each request."""

    file: ApprovalsFile
    keys_dir: Path
    entries: tuple[Entry, ...]

    @classmethod
    def open(cls, folder: Path, head_file: Path, keys_dir: Path) -> Self:
        """Read and verify all decisions; `ApprovalsError` stops the site. With none yet, no key is needed."""
        file = ApprovalsFile(folder / "approvals.jsonl", head_file)
        if not file.is_begun():
            return cls(file, keys_dir, ())
        return cls(file, keys_dir, file.read(load_approval_key(keys_dir).public_key()))

    def last(self, kind: Kind, digest: str) -> Entry | None:
        """Return the decision that counts for a digest."""
        return next((one for one in reversed(self.entries) if (one.kind, one.digest) == (kind, digest)), None)

    def is_approved(self, kind: Kind, digest: str) -> bool | None:
        """Tell whether a digest is approved; None where nothing was decided on it."""
        last = self.last(kind, digest)
        return None if last is None else last.decision == "approve"

    def approved_bundles(self) -> tuple[Entry, ...]:
        """Return the approvals of bundles that count now, in the order of their making."""
        bundles = [one for one in self.entries if one.kind == "code" and one.decision == "approve"]
        return tuple(one for one in bundles if self.last("code", one.digest) is one)

    def allows_code(self, code_digest: str) -> bool:
        """Tell whether an approved bundle holds exactly this code."""
        return any(one.code_digest == code_digest for one in self.approved_bundles())

    def forgotten(self) -> tuple[Entry, ...]:
        """Return the exclusions of patients."""
        return tuple(one for one in self.entries if one.kind == "patient")

    @property
    def number(self) -> int:
        """How many decisions there were on code, studies and keys: it grows with each, so that an old file shows.

        Patients who withdrew are not counted: the number is sent.
        """
        return sum(one.kind != "patient" for one in self.entries)

    def code_key(self) -> Ed25519PrivateKey:
        """Return the key that signs bundles now; each withdrawal makes another."""
        num_withdrawn = sum((one.kind, one.decision) == ("code", "withdraw") for one in self.entries)
        return code_key(load_approval_key(self.keys_dir), num_withdrawn)

    def decide(
        self,
        kind: Kind,
        decision: Decision,
        digest: str,
        *,
        code_digest: str | None = None,
        key_mark: str | None = None,
    ) -> "Approvals":
        """Record one decision for good and return what holds with it; the same decision twice is recorded once."""
        last = self.last(kind, digest)
        if last is not None and last.decision == decision:
            return self
        entry = self.file.append(
            load_approval_key(self.keys_dir),
            kind=kind, decision=decision, digest=digest, code_digest=code_digest, key_mark=key_mark,
            made=int(time.time()),
        )  # fmt: skip
        return Approvals(self.file, self.keys_dir, (*self.entries, entry))

    def adopt_key(self, new_keys_dir: Path) -> "Approvals":
        """Carry the decisions over to a new approval key; its owner vouches for all of them by one more entry.

        Call it with the decisions opened under the old key. Bundles are signed anew with the new key's code key.
        """
        if not self.entries:
            return Approvals(self.file, new_keys_dir, ())
        old, new = load_approval_key(self.keys_dir), load_approval_key(new_keys_dir)
        digest = hashlib.sha256(new.public_key().public_bytes_raw()).hexdigest()
        entry = self.file.append(
            new, before=old.public_key(), kind="key", decision="adopt", digest=digest, made=int(time.time())
        )
        return Approvals(self.file, new_keys_dir, (*self.entries, entry))
