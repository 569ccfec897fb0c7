"""A submitted study told while it goes on: who enrolled, who answered, who refused and what that means.

In: the events that a study leaves in its folder. Out: lines for the coordinator's own screen, each once.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from server.connections.site_answers import ACCEPTED, SiteAnswer, read_answer, study_answers
from server.runs.run_lines import EventLine, read_events, read_rounds
from server.studies.submissions import SubmittedStudy
from shared.messages.refusal_meanings import refusal_sentence


@dataclass
class StudyProgress:
    """Tells of one study what happens from now on."""

    study: SubmittedStudy
    _events: int = 0
    _rounds: int = 0
    _num_rounds: str = "?"

    def __post_init__(self) -> None:
        for _ in self.lines():
            pass  # of an earlier run, which was told then

    def lines(self) -> Iterator[str]:
        """Yield what happened since the last call, in order."""
        for line in list(read_events(self.study.folder))[self._events :]:
            self._events += 1
            if told := self._told(line):
                yield told
        for one in list(read_rounds(self.study.folder))[self._rounds :]:
            self._rounds += 1
            if one.round:
                yield f"round {one.round} of {self._num_rounds} closed: {len(one.answered)} sites"

    def _told(self, line: EventLine) -> str:
        if line.event == "study_started":
            self._num_rounds = str(line.rounds)
            return f"study {line.study} started, rounds: {line.rounds}; waiting for sites to enrol"
        if line.event == "round_started":
            return f"round {line.round}: asked {', '.join(line.sites)}"
        answer = read_answer(line, self.study.path.name)
        return "" if answer is None else answer_line(answer)


def answer_line(answer: SiteAnswer) -> str:
    """Say what one site answered; a refusal with its code, what it means and what to do."""
    if answer.outcome == ACCEPTED:
        return f"{answer.site} {f'answered {answer.stage}' if answer.round else 'enrolled'}"
    return f"{answer.site}, {answer.stage}: {refusal_sentence(answer.outcome)}"


def refusal_lines(study: SubmittedStudy) -> list[str]:
    """Return a line for each site whose last answer was none, or a refusal."""
    return [answer_line(one) for one in study_answers(study) if one.outcome != ACCEPTED]
