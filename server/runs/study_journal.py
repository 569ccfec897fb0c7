"""What a study says to the audit store while it runs: each record once, also when the hub is killed and resumed.

In: what the run's folder is told, and what sites released through their doors. Out: records in the folder's outbox, one
durable transaction a stage. The checkpoint comes first and holds what the stage has to say; it is written from there,
under the stage's name, so that a study that died between the two says it when it is resumed, and says it once.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Final, Literal

from pydantic import TypeAdapter

from server.runs.enrolled_site import EnrolledSite
from server.runs.run_folder import RunFolder
from server.runs.run_lines import RoundLine, read_rounds
from server.store.intake.outbox import FILE, Outbox
from server.store.record_kinds import (
    AnyBody,
    Body,
    EventBody,
    ReleaseBody,
    RoundBody,
    SiteBody,
    StatusBody,
    StudyBody,
)
from shared.code_digest import code_digest
from shared.config.study import StudyConfig
from shared.errors import RoundsError

PACKAGES: Final = ("flwr", "torch", "timm", "ofa", "opacus", "teaching-rounds")
ACCEPTED: Final = "accepted"
WORTH_TELLING: Final = (
    "asked_again",
    "late",
    "not_enrolled",
    "not_evaluated",
    "site_evaluation",
)  # the other events are records of their own
_BODY: Final[TypeAdapter[Any]] = TypeAdapter(AnyBody)
_MOST: Final = 300  # characters of an outcome
_PATH: Final = re.compile(r"(?<![\w./:])(?:/[^\s/'\":;,()]+)+/([^\s/'\":;,()]+)")


@dataclass(frozen=True)
class Journal(RunFolder):
    """The run folder of a study that is under way: what it is told goes to the audit store, too."""

    study_uid: str
    _events: list[Body] = field(default_factory=list, repr=False)

    @property
    def outbox(self) -> Outbox:
        """Where records wait for the store."""
        return Outbox(self.path)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Where the study fails, write the events that no stage wrote, and why it failed."""
        try:
            yield
        except RoundsError as error:
            self._write(*self.taken(), StatusBody(state="failed", why=plain(str(error))))
            raise

    def record_event(self, event: str, **details: Any) -> None:
        """Append one event to the folder's own; those worth a line of the audit wait for the end of their stage."""
        super().record_event(event, **details)
        if event in WORTH_TELLING:
            self._events.append(event_body(event, details))

    def taken(self) -> list[Body]:
        """Return the events that wait, for the caller to write."""
        events = list(self._events)
        self._events.clear()
        return events

    def begin(self, study: StudyConfig, *, simulation: bool) -> None:
        """Say what all sites agreed on, each time that the study begins or is resumed."""
        told = StudyBody(
            config=study, simulation=simulation, code_digest=code_digest(), versions=package_versions()
        )
        self._write(told)

    def enrolled(self, sites: Sequence[EnrolledSite]) -> None:
        """Say who takes part; of a site that enrols again, after a resume, only what is new."""
        known = [SiteBody.model_validate_json(body) for body in self.outbox.bodies(self.study_uid, ["site"])]
        latest = {body.site: body for body in known}
        new = [site for site in sites if latest.get(site.name) != site_body(site)]
        self._write(
            *(body for site in new for body in (site_body(site), enrolment_body(site))), *self.taken()
        )

    def stage(self, heard: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Write what a checkpoint holds of its last stage: bodies as plain values under the stage's name."""
        for name, bodies in heard.items():
            self._write(*map(_BODY.validate_python, bodies), batch=name)

    def failed_stage(self, heard: Sequence[Body]) -> None:
        """Write what was heard in a stage that failed, of which no checkpoint will tell."""
        self._write(*heard, *self.taken())

    def close_round(self, record: Mapping[str, Any], figures: Callable[[], Mapping[str, Any]]) -> None:
        """Write the line of a closed round and its record, each once; `figures` measures the student where needed."""
        number = record["round"]
        line = next((one for one in read_rounds(self) if one.round == number), None)
        if line is None:
            told = {**record, "test": figures()}
            self.record_round(told)
            line = RoundLine.model_validate(told)
        self._write(round_body(line), batch=f"round/{number}")

    def completed(self) -> None:
        """Say that the last round is closed, and what came too late for it."""
        self._write(*self.taken(), StatusBody(state="completed"))

    def _write(self, *bodies: Body, batch: str = "") -> None:
        if bodies:
            self.outbox.add(self.study_uid, *bodies, batch=batch)


def record_status(folder: RunFolder, state: Literal["completed", "failed", "stopped"], why: str = "") -> None:
    """Say how a study ended, from any process of the hub, unless that is its last word already.

    A run folder in which no study began has no records, and gets none.
    """
    if not (folder.path / FILE).is_file():
        return
    outbox = Outbox(folder.path)
    head = outbox.head()
    for last in outbox.after(head.seq - 1, 1):
        told = StatusBody(state=state, why=plain(why))
        said = outbox.bodies(last.study_uid, ["study", "status"])
        if not said or _BODY.validate_json(said[-1]) != told:
            outbox.add(last.study_uid, told)


def event_body(event: str, details: Mapping[str, Any]) -> EventBody:
    """Return the record of one event as the folder has it; what has no field of its own goes to `details`."""
    own = {"site", "round", "why"}
    said = {
        "asked_again": "the node failed and was sent the same request once more",
        "late": "answered after the deadline: discarded, and charged in its ledger",
    }
    node = f"node {details['node']}: " if "node" in details else ""
    return EventBody(
        event=event,
        round=details.get("round"),
        site=details.get("site", ""),
        what=plain(node + str(details.get("why") or said.get(event, ""))),
        details={key: value for key, value in details.items() if key not in own},
    )


def site_body(site: EnrolledSite) -> SiteBody:
    """Return the record of a site that takes part; it runs the hub's code, else it would not."""
    return SiteBody(
        site=site.name,
        declared_patients=site.declared_patients,
        code_digest=code_digest(),
        versions=dict(site.versions),
    )


def enrolment_body(site: EnrolledSite) -> ReleaseBody:
    """Return the record of the answer by which a site enrolled."""
    return ReleaseBody(
        site=site.name, round=0, release="enrolment", num_bytes=site.num_bytes, outcome=ACCEPTED
    )


def round_body(line: RoundLine) -> RoundBody:
    """Return the record of a closed round from its line in rounds.jsonl."""
    return RoundBody(
        round=line.round,
        answered=line.answered,
        missing={site: plain(why) for site, why in line.missing.items()},
        asked_again=line.asked_again,
        epsilon=line.epsilon,
        num_bytes=line.num_bytes,
        seconds=line.seconds,
        auc=line.test.auc,
        mask_area=line.test.mask_area,
    )


def plain(text: str) -> str:
    """Return a sentence on one line of at most 300 signs, its paths cut to the names of their files.

    Sentences are the hub's own, but some repeat a name that an answer held.
    """
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return _PATH.sub(r"\1", line)[:_MOST]


def package_versions() -> dict[str, str]:
    """Return the versions of what results rest on."""
    return {name: version(name) for name in PACKAGES}
