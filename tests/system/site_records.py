"""What the sites' own ledgers hold of a study: what they charged, and the updates that they let out, byte for byte.

From these updates the student is made once more, without the hub: the initial weights, then round by round the mean of
the updates of those sites whose answers the hub took. Only who answered is the hub's word; which numbers, the sites'.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from client.ledger.ledger_file import LedgerFile
from client.ledger.ledger_schema import Row
from server.rounds.aggregation import RunningMean, applied, merged_step
from server.runs.run_folder import RunFolder, read_lines
from shared.config.site import SiteConfig
from shared.config.study import StudyConfig
from shared.messages.releases import Release, decode_release
from shared.models.arrays import Arrays, arrays_digest


@dataclass(frozen=True)
class ClosedRound:
    """One round as the hub's records have it: who was asked, and whose updates it took."""

    number: int
    asked: tuple[str, ...]
    answered: tuple[str, ...]


def charged(config: SiteConfig, study_uid: str) -> list[tuple[Any, ...]]:
    """Return what a site's ledger charged for one study: round, request, how it ended, and mechanism."""
    with _ledger(config) as ledger:
        ledger.verify()
        return sorted(
            (row.round, row.request_kind, row.kind, row.mechanism or "")
            for row in _rows(ledger, study_uid)
            if not row.is_enrolment  # which spends nothing; one that a kill cut short is looked at and counted again
        )


def stored_updates(config: SiteConfig, study_uid: str, like: Arrays) -> dict[int, Release]:
    """Return the updates that a site's ledger stored for one study, by round; each has the arrays of `like`."""
    shapes = {name: array.shape for name, array in like.items()}
    with _ledger(config) as ledger:
        return {
            row.round: decode_release(ledger.stored(row), shapes, kinds=("update",), study_uid=study_uid)
            for row in _rows(ledger, study_uid)
            if (row.kind, row.request_kind) == ("commit", "train")
        }


def closed_rounds(folder: RunFolder) -> list[ClosedRound]:
    """Return the rounds that the hub closed, in order; a round that began more than once counts by its last begin."""
    asked = {
        line["round"]: line["sites"] for line in read_lines(folder.events) if line["event"] == "round_started"
    }
    answered = {line["round"]: line["answered"] for line in read_lines(folder.rounds) if line["round"]}
    return [ClosedRound(number, tuple(asked[number]), tuple(answered[number])) for number in sorted(answered)]


def student_of(
    study: StudyConfig,
    initial: Arrays,
    rounds: Sequence[ClosedRound],
    sites: Mapping[str, SiteConfig],
    study_uid: str,
) -> Arrays:
    """Return the student that these sites' stored updates make.

    `ValueError` where a ledger lacks an update that the hub took, or has one that was made from other weights.
    """
    stored = {name: stored_updates(config, study_uid, initial) for name, config in sites.items()}
    weights, velocity = initial, dict[str, Any]()
    for one in rounds:
        mean = RunningMean({name: float(sites[name].declared_patients) for name in one.asked})
        for name in one.answered:
            release = stored[name].get(one.number)
            if release is None:
                raise ValueError(
                    f"{name}, round {one.number}: its ledger holds no update that the hub could have"
                )
            if arrays_digest(weights) not in release.fields.model_dump().values():
                raise ValueError(f"{name}, round {one.number}: its update was made from other weights")
            mean.add(name, release.arrays)
        velocity = dict(merged_step(velocity, mean.mean(), study.federation.server_momentum))
        weights = applied(weights, velocity)
    return weights


@contextmanager
def _ledger(config: SiteConfig) -> Iterator[LedgerFile]:
    ledger = LedgerFile(config.state_dir / "ledger.sqlite", config.head_file)
    try:
        yield ledger
    finally:
        ledger.close()


def _rows(ledger: LedgerFile, study_uid: str) -> list[Row]:
    return [row for row in ledger.rows() if row.study_uid == study_uid]
