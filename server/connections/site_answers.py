"""What each site has said of a study: by enrolling, by answering or by refusing; nothing is guessed in between.

In: the records that a study leaves in its folder, and whatever other source stands in `SOURCES`. Out: one frozen value
a site and source. Only what a site let out through its door is in it, so what a site does not say stays None.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from server.hub.hub_folder import HubFolder
from server.runs.run_folder import RunFolder, last_lines
from server.runs.run_lines import EventLine, event_line
from server.studies.offered_studies import Offers
from server.studies.submissions import SubmittedStudy, all_studies
from shared.config.files import read_study
from shared.errors import ErrorCode, RoundsError
from shared.messages.refusal_meanings import CODE_REFUSED, NO_ANSWER, code_of

ACCEPTED: Final = "accepted"
_MOST_BYTES: Final = 2 * 2**20  # of a study's events, the newest: thousands of rounds
_OUTCOMES: Final[Mapping[str, Callable[[EventLine], str]]] = {  # of the events that tell of one site
    "enrolled": lambda _: ACCEPTED,
    "not_enrolled": lambda line: line.why.removeprefix("answered "),
    "answered": lambda line: line.outcome,
    "deadline": lambda _: NO_ANSWER,
}


@dataclass(frozen=True)
class Said:
    """A site's own yes or no, and in words by which answer."""

    yes: bool
    how: str


@dataclass(frozen=True)
class SiteAnswer:
    """One site's last word on a study; `time` is ISO 8601, `digest` the study's own where it is known.

    `approval`, `data` and `code` are what follows for certain from what the site said. `round` is 0 for an enrolment
    and None for what was said outside of a run; `outcome` is `accepted`, a code, or a sentence of the study's records.
    """

    site: str
    study: str
    time: str
    digest: str = ""
    approval: Said | None = None
    data: Said | None = None
    code: Said | None = None
    round: int | None = None
    outcome: str = ACCEPTED

    @property
    def stage(self) -> str:
        """The part of the study that was answered: 'enrolment', 'round 3'."""
        return f"round {self.round}" if self.round else "enrolment"


AnswerSource = Callable[[HubFolder], Iterable[SiteAnswer]]


def answers_in_studies(hub: HubFolder) -> Iterator[SiteAnswer]:
    """Yield the sites' answers in the study that was submitted last."""
    study = newest_study(hub)
    if study is not None:
        yield from study_answers(study)


def answers_to_offers(hub: HubFolder) -> Iterator[SiteAnswer]:
    """Yield the sites' signed answers to the parcel that was offered last, at the time when each came in here.

    Nothing where an offer or answer on the disk is damaged: `rounds-hub study offers` says so.
    """
    offers, yes = Offers(hub.path / "offers"), Said(yes=True, how="signed answer")
    with suppress(RoundsError):
        for newest in offers.all()[-1:]:
            for answer in offers.answers(newest):
                time = offers.came(newest, answer.site).isoformat(timespec="milliseconds")
                yield SiteAnswer(answer.site, newest.name, time, newest.study, approval=yes)


# A further way in which sites say what they approve is one more function here, which is given the hub's folder.
SOURCES: Final[tuple[AnswerSource, ...]] = (answers_in_studies, answers_to_offers)


def site_answers(hub: HubFolder, sources: Iterable[AnswerSource] = SOURCES) -> dict[str, SiteAnswer]:
    """Return the last word of each site from all sources; what it leaves open is as the site said before."""
    last: dict[str, SiteAnswer] = {}
    for answer in sorted((one for source in sources for one in source(hub)), key=lambda one: one.time):
        last[answer.site] = _after(last.get(answer.site), answer)
    return last


def newest_study(hub: HubFolder) -> SubmittedStudy | None:
    """Return the study that was submitted last."""
    known = all_studies(hub.studies)
    return known[-1] if known else None


def study_answers(study: SubmittedStudy) -> list[SiteAnswer]:
    """Return the last word of each site in a study's records, by name."""
    last: dict[str, SiteAnswer] = {}
    digest = _digest(study.folder)
    for line in map(event_line, last_lines(study.folder.events, _MOST_BYTES)):
        answer = read_answer(line, study.path.name, digest)
        if answer is not None:
            last[answer.site] = _after(last.get(answer.site), answer)
    return [last[name] for name in sorted(last)]


def read_answer(line: EventLine, study: str, digest: str = "") -> SiteAnswer | None:
    """Return what one event of a study tells of a site; None for an event that tells nothing of one."""
    name, outcome_of = line.site, _OUTCOMES.get(line.event)
    if not name or outcome_of is None:
        return None
    outcome = outcome_of(line)
    bare = SiteAnswer(name, study, line.time, digest, round=line.round or 0, outcome=outcome)
    yes, no, code = Said(yes=True, how=bare.stage), Said(yes=False, how=bare.stage), code_of(outcome)
    return replace(
        bare,
        approval=yes if outcome == ACCEPTED else no if code == ErrorCode.STUDY_NOT_APPROVED else None,
        data=yes if outcome == ACCEPTED else no if code == ErrorCode.NOT_READY else None,
        code=no if code == ErrorCode.CODE_NOT_APPROVED or outcome == CODE_REFUSED else None,
    )


def _after(before: SiteAnswer | None, answer: SiteAnswer) -> SiteAnswer:
    """Return an answer with what it leaves open taken from the one before, where that is of the same study."""
    if before is None or not _same_study(before, answer):
        return answer
    if answer.round is None:  # said outside of a run: the last answer in it stays what it was
        answer = replace(answer, round=before.round, outcome=before.outcome, study=before.study)
    return replace(answer, approval=answer.approval or before.approval, data=answer.data or before.data)


def _same_study(one: SiteAnswer, other: SiteAnswer) -> bool:
    if one.digest and other.digest:
        return one.digest == other.digest
    return one.study == other.study


def _digest(folder: RunFolder) -> str:
    """Return the digest of the study as it is asked; nothing before its first run has resolved it."""
    try:
        return read_study(folder.study).digest()
    except (RoundsError, OSError):
        return ""
