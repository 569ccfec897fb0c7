"""The table of killed processes: what became of one study, whether that is good, and how a person reads it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from server.runs.checkpoints import load_state
from server.studies.submissions import SubmittedStudy
from shared.config.files import parse_study, read_yaml
from shared.models.arrays import arrays_digest
from tests.conftest import SITES, TinyFederation
from tests.system.deployed import Deployment
from tests.system.moments import ROUNDS
from tests.system.site_records import closed_rounds, student_of

Charges = Mapping[str, list[tuple[Any, ...]]]
COLUMNS = (
    "killed with -9", "when", "outcome", "rounds", "runs of Flower", "spend", "student", "from the sites' ledgers",
    "seconds",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One study: what was done to it, how it ended, what it cost, and which student it left."""

    killed: str
    when: str
    outcome: str
    seconds: float
    rounds: int = 0
    runs: int = 0
    same_spend: bool = False
    student: str = ""
    made_again: str = ""
    wrong: str = ""  # what else went wrong

    @property
    def good(self) -> bool:
        """Whether nothing was lost, nothing was spent twice, and the student is what the sites' updates make."""
        equal = bool(self.student) and self.student == self.made_again
        ended = (self.outcome, self.rounds) == ("completed", ROUNDS)
        return ended and self.same_spend and equal and not self.wrong

    def cells(self) -> tuple[str, ...]:
        """Return what stands in each column."""
        again = (
            "the same" if self.student and self.student == self.made_again else self.made_again[:12] or "-"
        )
        spend = "same" if self.same_spend else "OTHER"
        return (
            self.killed, self.when, self.outcome, str(self.rounds), str(self.runs), spend,
            self.student[:12] or "-", again, f"{self.seconds:.0f}",
        )  # fmt: skip

    def line(self) -> str:
        """Return one line for a terminal."""
        killed, when, outcome, rounds, runs, spend, student, again, seconds = self.cells()
        told = (
            f"{'ok ' if self.good else 'BAD'} {seconds:>4} s  {outcome:9} rounds {rounds}  runs {runs}  "
            f"spend {spend:5}  student {student:12} from the sites' ledgers {again:12}  {killed}: {when}"
        )
        return f"{told}  {self.wrong}".rstrip()


def markdown(rows: Sequence[Row]) -> str:
    """Return the table as it stands in deploy/README.md."""
    lines = [COLUMNS, ("---",) * len(COLUMNS), *(row.cells() for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def charges(deployment: Deployment, study_uid: str) -> Charges:
    """Return what each site's ledger charged for a study."""
    return {name: deployment.charged(name, study_uid) for name in SITES}


def students(deployment: Deployment, study: SubmittedStudy, tiny: TinyFederation) -> tuple[str, str, str]:
    """Return two digests of the final student, and what is wrong with the second.

    The first is of the weights in the hub's checkpoint, the second of those that the sites' stored updates make.
    """
    config = parse_study(read_yaml(study.folder.study), "the submitted study")
    state = load_state(study.folder.checkpoint, config.digest())
    if state is None:
        return "", "", "no checkpoint"
    sites = {name: deployment.site(name) for name in SITES}
    try:
        again = student_of(config, tiny.initial, closed_rounds(study.folder), sites, state.study_uid)
    except ValueError as error:
        return arrays_digest(state.weights), "", str(error)
    return arrays_digest(state.weights), arrays_digest(again), ""
