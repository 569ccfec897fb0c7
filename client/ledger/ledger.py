"""What this hospital has spent, for ever, and which answers have left: each request is answered once.

In: request keys, public parameters of mechanisms, reply bytes. Out: permission to compute, the stored reply,
and a statement of the spend. Order: `reserve` (durable) -> compute -> `commit` (reply and row in one
transaction, durable) -> send. A crash leaves a reservation, which counts as spent and may be computed again,
because nothing of it left.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from client.ledger.ledger_file import LedgerFile, sha256
from client.ledger.ledger_schema import ENROLMENT, GENESIS, RequestKey, Row, enrolments, mechanism_text
from client.ledger.spend import EVERY_PARTITION, PARTITIONS, check_cap, mechanisms_of, partition_spends
from shared.config.site import Cap
from shared.errors import ErrorCode, LedgerError, PrivacyError, Refusal
from shared.messages.release_kinds import LedgerStatement, Span
from shared.privacy.mechanisms import Declared, Mechanism, Unprotected

__all__ = ["Ledger", "RequestKey", "Reservation"]


@dataclass(frozen=True)
class Reservation:
    """A request that is paid for; `stored` holds the reply's bytes once it has been answered."""

    seq: int
    stored: bytes | None


class Ledger:
    """One append-only, hash-chained SQLite file a site, with a head file on another volume.

    Several processes may open it; each write holds the file lock. Not for use by several threads.
    """

    def __init__(self, file: LedgerFile) -> None:
        self._file = file

    @classmethod
    def open(cls, path: Path, head_file: Path) -> Self:
        """Open or begin a ledger; `LedgerError` when it is damaged, cut, or does not match its head file."""
        return cls(LedgerFile(path, head_file))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def reserve(
        self,
        key: RequestKey,
        base_digest: str,
        mechanism: Mechanism | None,
        partition: str,
        cap: Cap,
        *,
        allow_without_privacy: bool = False,
    ) -> Reservation:
        """Pay for a request before any patient is touched, or hand back what it was answered.

        Same key and content: the stored bytes, or the same unanswered row. Same key with another base,
        mechanism or partition: `Refusal(LEDGER_CONFLICT)`. A projected spend of the partition over the cap,
        at the cap's delta: `Refusal(BUDGET_SPENT)`, and nothing is written. `mechanism` is None where nothing
        of the patients leaves. An infinite spend passes only where the hospital allows it.
        """
        if partition not in PARTITIONS:
            raise PrivacyError(
                f"partition is {partition!r}, allowed is one of {', '.join(PARTITIONS)}; use one"
            )
        text = mechanism_text(mechanism)
        with self._file.writing() as rows:
            mine = [row for row in rows if row.key == (key.study_uid, key.round, key.kind)]
            if mine:
                return self._again(mine, (base_digest, text, partition))
            if mechanism is not None:
                projected = [*mechanisms_of(rows, partition), mechanism]
                check_cap(projected, cap, partition, allow_without_privacy=allow_without_privacy)
            row = self._file.append(
                rows,
                "reserve",
                (key.study_uid, key.round, key.kind),
                base_digest=base_digest,
                partition=partition,
                mechanism=text,
            )
        return Reservation(row.seq, None)

    def reserve_enrolment(self, study_uid: str, number: int, study_digest: str, most: int) -> Reservation:
        """Count one look at the patients for a study's enrolment, or hand back the answer of an enrolled site.

        Whether a site is ready may hang on one patient, and costs no noise: so a study, by its digest, whatever uid it
        comes under, gets `most` looks, and then `Refusal(ENROLMENTS_SPENT)`. Same uid and round, another study:
        `Refusal(LEDGER_CONFLICT)`. A look that ended without an answer stays counted; the next has a row of its own.
        """
        with self._file.writing() as rows:
            looks = [row for row in rows if row.is_enrolment]
            mine = [row for row in looks if (row.study_uid, row.round) == (study_uid, number)]
            if any(row.base_digest != study_digest for row in mine):
                raise Refusal(
                    ErrorCode.LEDGER_CONFLICT,
                    "study_uid: enrolled for another study; the hub must make a new uid",
                )
            for row in mine:
                if row.kind == "commit":
                    return Reservation(row.seq, self._file.stored(row))
            looked = enrolments(rows, study_digest)
            if looked >= most:
                raise Refusal(
                    ErrorCode.ENROLMENTS_SPENT,
                    f"max_enrolments is {most}: for study {study_digest[:12]} the patients were looked at {looked} "
                    "times; ask the hub why, then raise max_enrolments in site.yaml if you agree",
                )
            kind = ENROLMENT if not mine else f"{ENROLMENT}_{len(mine) + 1}"
            key = (study_uid, number, kind)
            row = self._file.append(rows, "reserve", key, base_digest=study_digest, partition="train")
        return Reservation(row.seq, None)

    def commit(self, reservation: Reservation, reply: bytes) -> None:
        """Store the reply's bytes and its row durably; only then may the bytes be sent.

        `Refusal(LEDGER_CONFLICT)` where another process answered first: this reply must not leave.
        """
        with self._file.writing() as rows:
            paid = rows[reservation.seq - 1]
            if any(row.kind == "commit" and row.key == paid.key for row in rows):
                raise Refusal(
                    ErrorCode.LEDGER_CONFLICT,
                    f"row {paid.seq} is answered already; drop this reply and repeat the request",
                )
            row = self._file.append(
                rows,
                "commit",
                paid.key,
                base_digest=paid.base_digest,
                partition=paid.partition,
                reply_digest=sha256(reply),
            )
            self._file.store(row, reply)

    def record_declared(self, digest: str, epsilon: float, delta: float) -> None:
        """Add the spend of a private-dp weights file, once; it counts in every partition.

        Nothing is added where the file came unlisted before: that bound is gone. `LedgerError` when the file is
        in the ledger with another spend.
        """
        self._record_weights(
            digest,
            Declared(epsilon=epsilon, delta=delta),
            f"private_dp_spend of {digest[:12]}: is ({epsilon:g}, {delta:g})",
        )

    def record_unlisted(self, digest: str) -> None:
        """Add, once, that a weights file came which the hospital does not list: no guarantee holds in any partition.

        `LedgerError` when the file is in the ledger with the spend that the hospital once declared.
        """
        self._record_weights(digest, Unprotected(), f"accepted_digests: does not list {digest[:12]}")

    def _record_weights(self, digest: str, spend: Declared | Unprotected, found: str) -> None:
        with self._file.writing() as rows:
            for row in rows:
                if row.kind == "declared" and row.base_digest == digest:
                    if row.mechanism in {mechanism_text(spend), mechanism_text(Unprotected())}:
                        return
                    raise LedgerError(
                        f"{found}, but row {row.seq} has {row.mechanism}; put back that value, a spend cannot be "
                        "changed"
                    )
            self._file.append(
                rows,
                "declared",
                ("", 0, "declared"),
                base_digest=digest,
                partition=EVERY_PARTITION,
                mechanism=mechanism_text(spend),
            )

    def enrolments(self, study_digest: str) -> int:
        """Return how often enrolment for a study has looked at the patients."""
        return enrolments(self._file.rows(), study_digest)

    def last_uid(self, study_digest: str) -> str | None:
        """Return the uid under which a study enrolled here last; None where it never did."""
        looks = [row for row in self._file.rows() if row.is_enrolment and row.base_digest == study_digest]
        return looks[-1].study_uid if looks else None

    def last_round(self, study_uid: str, kind: str) -> int | None:
        """Return the highest round in which a study's request of a kind was reserved; None where none was."""
        rows = [row for row in self._file.rows() if (row.study_uid, row.request_kind) == (study_uid, kind)]
        return max((row.round for row in rows), default=None)

    def mechanisms(self, partition: str) -> list[Mechanism]:
        """Return everything ever reserved or declared for a partition's patients, answered or not."""
        return mechanisms_of(self._file.rows(), partition)

    def statement(
        self, delta: float, *, site: str, span: Span, shown_cap: Cap | None = None
    ) -> LedgerStatement:
        """Return the spend at `delta` by partition, public parameters only: the figure that the cap is held against."""
        rows = self._file.rows()
        spends = partition_spends(rows, delta)
        known = [item.epsilon for item in spends if item.epsilon is not None]
        return LedgerStatement(
            site=site,
            head_seq=len(rows),
            head_hash=rows[-1].hash if rows else GENESIS,
            epsilon=max(known) if len(known) == len(spends) else None,
            delta=delta,
            partitions=spends,
            cap_epsilon=shown_cap.epsilon if shown_cap else None,
            span=span,
        )

    def require_head(self, seq: int, head: str) -> None:
        """Refuse to go on when the hub remembers a head that this ledger does not have."""
        hashes = [GENESIS, *(row.hash for row in self._file.rows())]
        if not (0 <= seq < len(hashes) and hashes[seq] == head):
            raise LedgerError(
                f"ledger {self._file.path}: has no row {seq} with the head that the hub remembers; if it was "
                "restored together with its head file, put back the newest of both"
            )

    def verify(self) -> int:
        """Recompute every hash, reply and head; return the number of rows or raise `LedgerError`."""
        return self._file.verify()

    def _again(self, mine: list[Row], content: tuple[str, str | None, str]) -> Reservation:
        paid, last = mine[0], mine[-1]
        if content != (paid.base_digest, paid.mechanism, paid.partition):
            raise Refusal(
                ErrorCode.LEDGER_CONFLICT,
                f"{paid.request_kind} of round {paid.round}: row {paid.seq} has another base, mechanism "
                "or partition; the hub must repeat the request unchanged, or submit a new study",
            )
        return Reservation(paid.seq, self._file.stored(last) if last.kind == "commit" else None)
