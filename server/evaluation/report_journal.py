"""What is found out after the rounds, on its way to the audit store: written where it differs from what was said last.

In: bodies with the blobs that they name, from an audit or a report that may be made again at any time. Out: records in
the run's outbox. A report made anew with equal content adds nothing.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from server.evaluation.report_records import summary_records
from server.report.chai_fields import Card
from server.runs.run_folder import RunFolder
from server.runs.study_journal import record_status
from server.runs.summary import Summary
from server.store.chain import canonical
from server.store.intake.outbox import Blob, Outbox
from server.store.record_kinds import Body, ModelBody

# what tells two records of a kind apart that stand beside each other; of the others the last one counts
_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "data": (),
    "figures": ("of",),
    "document": ("name",),
    "map": ("subject", "label", "source", "round", "site_release"),
    "film": ("frame", "source"),
    "image": ("key",),
    "gate": (),
    "model": (),
}


@dataclass(frozen=True)
class AuditJournal:
    """The records of one run's audit."""

    folder: RunFolder
    study_uid: str

    def put(self, bodies: Iterable[Body], blobs: Iterable[Blob] = ()) -> int:
        """Write what is new, in one durable transaction; returns how many records that were."""
        plain = [(body, body.model_dump(mode="json")) for body in bodies]
        outbox = Outbox(self.folder.path)
        said = outbox.bodies(self.study_uid, sorted({one["kind"] for _, one in plain}))
        last = {_key(json.loads(text)): text for text in said}
        new = [body for body, one in plain if last.get(_key(one)) != canonical(one)]
        if new:
            named = {digest for body in new for digest in body.named_blobs}
            needed = {blob.digest: blob for blob in blobs}
            outbox.add(self.study_uid, *new, blobs=[needed[digest] for digest in sorted(named)])
        return len(new)


def record_summary(folder: RunFolder, summary: Summary, card: Card) -> None:
    """Write the records of a run's summary and card, and how the run stands; nothing where no study began."""
    if not summary.study.uid:
        return
    bodies, blobs = summary_records(summary, card), []
    for name in ("student.safetensors", "candidate.safetensors"):
        path = folder.path / name
        if summary.gate is not None and path.is_file():
            weights = Blob(path.read_bytes(), "application/octet-stream")
            if weights.digest == summary.digests.get("student"):
                bodies.append(model_body(summary, weights))
                blobs.append(weights)
    AuditJournal(folder, summary.study.uid).put(bodies, blobs)
    if summary.status == "completed" or not folder.is_held():
        record_status(folder, summary.status, "" if summary.status == "completed" else _why(summary))


def model_body(summary: Summary, weights: Blob) -> ModelBody:
    """Return the record of the student that came out, with what it is and what the gate made of it."""
    facts = summary.model.model_dump(mode="json", exclude_none=True)
    facts |= {"verdict": summary.verdict, "temperature": summary.temperature}
    return ModelBody(weights=weights.digest, num_bytes=len(weights.content), facts=facts)


def _why(summary: Summary) -> str:
    return " ".join(summary.reasons) or "the run ended before its study was complete"


def _key(body: Mapping[str, Any]) -> tuple[Any, ...]:
    return body["kind"], *(body[name] for name in _KEYS[body["kind"]])
