"""Kill each process of a deployment hard, at each stage of a study, and see what became of the study.

Three sites, two rounds, a quorum of all, and an evaluation at the sites. One study is undisturbed; after it each row of
the table is a study of its own. A row is good where the study was completed under one study_uid, each site's ledger
charged what the undisturbed study is charged, the hub's student is bit for bit the one that the updates stored in the
sites' ledgers make, and no process is left that nobody keeps. Exit status 0 where all rows are good.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from server.runs.run_folder import read_lines
from server.services.services import DASHBOARD, FEED, PROXY, REGISTRY, SUPEREXEC, SUPERLINK
from server.studies.submissions import SubmittedStudy
from tests.conftest import SITES, TinyFederation, make_tiny_federation
from tests.system.deployed import APP, HUB, STUDY, Deployment, deployed, wait_until
from tests.system.kill_table import Charges, Row, charges, markdown, students
from tests.system.moments import MOMENTS, wait_for

SITE = "film"
EVERYTHING = "everything"
VICTIMS = {  # word: what the table calls it, and the deployment's name for the process
    "superlink": ("SuperLink", SUPERLINK),
    "superexec": ("SuperExec, and with it the study's process", SUPEREXEC),
    "study": ("the study's process", STUDY),
    "registry": ("registry", REGISTRY),
    "nginx": ("nginx", PROXY),
    "feed": ("the audit feed", FEED),
    "dashboard": ("the dashboard", DASHBOARD),
    "hub": ("`rounds-hub serve`", HUB),
    "node": ("a site's node", f"{SITE} node"),
    "site": ("a site's `rounds-site run`", SITE),
    "app": ("a site's app", f"{SITE} {APP}"),
    "power": ("hub and all sites at once", EVERYTHING),
}
USUAL = (
    "superlink starting", "superlink charged", "superlink last round", "superlink evaluation", "superexec round 1",
    "study enrolment", "study charged", "study evaluation", "registry submitted", "nginx stored", "hub starting",
    "hub stored", "hub evaluation", "node enrolment", "node charged", "node stored", "site last round", "app charged",
    "app counting", "power stored", "power evaluation",
)  # fmt: skip
LATE, STOP = "late", "stop"  # rows in which nothing is killed
_NEVER = {
    (what, when) for what in ("study", "app") for when in ("submitted", "starting")
}  # no such process then
SECONDS = 900.0
SETTINGS = {
    "federation.evaluate_sites": True,
    "federation.enrolment_seconds": 300.0,
    "federation.deadline_seconds": 300.0,
}
HURRIED = 2.0  # the deadline of the row `late`, in times the slowest undisturbed round


@dataclass(frozen=True)
class Matrix:
    """A running deployment, the miniature it was made of, what an undisturbed study charges, its slowest round."""

    deployment: Deployment
    tiny: TinyFederation
    expected: Charges
    round_seconds: float

    def made(self, row: str) -> Row:
        """Run the study of one row, by its words; of an undisturbed study without words."""
        if not row:
            return self.row("nothing", "an undisturbed study")
        others = {LATE: self.late, STOP: self.stopped}
        return others[row]() if row in others else self.killed(*row.split(maxsplit=1))

    def killed(self, victim: str, moment: str) -> Row:
        """Run a study, kill the victim at the moment, and start again what nobody on this machine would."""

        def strike(study: SubmittedStudy) -> None:
            wait_for(self.deployment, study, SITE, moment, SECONDS)
            what = VICTIMS[victim][1]
            if what == EVERYTHING:
                self.deployment.kill_everything()
            else:
                self.deployment.kill(what)
            for name in (HUB, *SITES):  # as a container's engine, or a machine that is switched on again
                if what in {name, EVERYTHING}:
                    self.deployment.start_again(name)

        return self.row(VICTIMS[victim][0], MOMENTS[moment].told, strike)

    def late(self) -> Row:
        """Run a study with a short deadline, and hold one site's app back in round 1 until that is over."""
        settings = {
            "federation.quorum": 2,
            "federation.deadline_seconds": round(HURRIED * self.round_seconds, 1),
        }
        self.deployment.approve(settings)

        def strike(study: SubmittedStudy) -> None:
            wait_for(self.deployment, study, SITE, "round 1", SECONDS)
            hold_back(
                self.deployment, f"{SITE} {APP}", lambda: bool(self.deployment.events(study, "deadline"))
            )

        def unseen(study: SubmittedStudy) -> str:
            told = [(line["round"], line["site"]) for line in self.deployment.events(study, "late")]
            return "" if (1, SITE) in told else f"late by the study's events: {told}"

        killed = "a site's app: not killed, but held back until the deadline is over"
        return self.row(killed, "in round 1", strike, settings, unseen)

    def stopped(self) -> Row:
        """Stop a study as a coordinator does, and resume it when nothing of it is at work, here or at sites."""

        def strike(study: SubmittedStudy) -> None:
            wait_for(self.deployment, study, SITE, "charged", SECONDS)
            self.order("stop", study)
            at_work = (STUDY, *(f"{name} {APP}" for name in SITES))
            quiet = lambda: all(self.deployment.process(one) is None for one in at_work)  # noqa: E731
            wait_until(quiet, 120, "no process at work after the stop")
            self.order("resume", study)

        killed = "nothing: `study stop`, and `study resume` once no process is at work"
        return self.row(killed, MOMENTS["charged"].told, strike)

    def order(self, what: str, study: SubmittedStudy) -> None:
        """Carry out one of the coordinator's commands on a study."""
        hub = str(self.deployment.hub.path)
        done = self.deployment.command("server.main", "study", what, study.path.name, "--hub", hub)
        assert done.returncode == 0, done.stderr

    def row(
        self,
        killed: str,
        when: str,
        strike: Callable[[SubmittedStudy], None] = lambda _: None,
        settings: dict[str, float] | None = None,
        also: Callable[[SubmittedStudy], str] = lambda _: "",
    ) -> Row:
        """Run one study and return its line; `also` says what else went wrong."""
        started, study = time.monotonic(), self.deployment.submit(settings)
        try:
            strike(study)
            state = self.deployment.finish(study, SECONDS)
            seconds, uid = time.monotonic() - started, self.deployment.study_uid(study)
            wait_until(
                lambda: not (self.deployment.strays() or self.deployment.zombies()), 60, "nothing left over"
            )
        except (
            AssertionError,
            ValueError,
            OSError,
        ) as error:  # too slow, two study_uids, a process that was gone
            with suppress(AssertionError):  # it may be over
                self.order("stop", study)
            return Row(killed, when, study.read().state, time.monotonic() - started, wrong=repr(error))
        student, again, wrong = students(self.deployment, study, self.tiny)
        return Row(
            killed, when, state, seconds, study.rounds(), len(study.read().runs),
            charges(self.deployment, uid) == self.expected, student, again, wrong or also(study) or study.read().why,
        )  # fmt: skip


def hold_back(deployment: Deployment, what: str, until: Callable[[], bool]) -> None:
    """Let a process run for a small part of the time only: it is slow, and its heart beats."""
    end = time.monotonic() + SECONDS
    while not until():
        assert time.monotonic() < end, f"{what}: held back for {SECONDS:g} s"
        process = deployment.process(what)
        if process is None:
            continue
        with suppress(ProcessLookupError):
            for number, seconds in ((signal.SIGSTOP, 0.4), (signal.SIGCONT, 0.05)):
                os.kill(process, number)
                time.sleep(seconds)


def chosen(words: Sequence[str], *, everything: bool) -> list[str]:
    """Return the rows that the words stand for; without words the usual ones."""
    pairs = {
        f"{what} {when}": (what, when) for what in VICTIMS for when in MOMENTS if (what, when) not in _NEVER
    }
    if everything or not words:
        return [*(pairs if everything else USUAL), STOP, LATE]
    unknown = set(words) - {*VICTIMS, *MOMENTS, *pairs, STOP, LATE}
    if unknown:
        raise SystemExit(
            f"{', '.join(sorted(unknown))}: not known; processes are {', '.join(VICTIMS)}; moments are "
            f"{', '.join(map(repr, MOMENTS))}; a row is a process with a moment, as {USUAL[0]!r}, or {STOP}, or {LATE}"
        )
    what, when = set(words) & set(VICTIMS), set(words) & set(MOMENTS)
    crossed = {
        pair
        for pair, (victim, moment) in pairs.items()
        if (what or when) and (not what or victim in what) and (not when or moment in when)
    }
    return [one for one in (*pairs, STOP, LATE) if one in crossed | set(words)]


def run(rows: Sequence[str], file: Path | None) -> bool:
    """Print a line as soon as each study is over, and write the table; returns whether all is good."""
    folder = Path(tempfile.mkdtemp(prefix="rounds-kill-"))
    tiny = make_tiny_federation(folder / "workspace")
    done: list[Row] = []
    with deployed(folder / "deployment", tiny.workspace, SITES, SETTINGS) as deployment:
        first = deployment.submit()
        deployment.finish(first, SECONDS)
        slowest = max(line.get("seconds", 0) for line in read_lines(first.folder.rounds))
        matrix = Matrix(deployment, tiny, charges(deployment, deployment.study_uid(first)), slowest)
        for row in ("", *rows):
            done.append(matrix.made(row))
            print(done[-1].line(), flush=True)
            if file is not None:
                file.write_text(markdown(done), encoding="utf-8")
    left = deployment.left()
    good = sum(row.good for row in done)
    print(
        f"{good} of {len(done)} rows are good; processes left after the end: {len(left)}; everything is in {folder}"
    )
    return good == len(done) and not left


def main() -> int:
    """Read the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.system.kill_matrix", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"processes: {', '.join(VICTIMS)}\nmoments:   {', '.join(map(repr, MOMENTS))}\n"
        f"{STOP}:      a row of its own, a study that is stopped and resumed by command\n"
        f"{LATE}:      a row of its own, an app that is held back until the round's deadline is over\n\n"
        "A row takes one to two minutes. Without words the usual rows are run, about 40 minutes. Examples:\n"
        "  python -m tests.system.kill_matrix --markdown table.md\n"
        "  python -m tests.system.kill_matrix 'hub last round'      one row\n"
        "  python -m tests.system.kill_matrix superlink --list      what would be run",
    )  # fmt: skip
    parser.add_argument(
        "words", nargs="*", metavar="WORD", help="a row, or processes and moments: each with each"
    )
    parser.add_argument(
        "--all", action="store_true", help="every process at every moment, two to three hours"
    )
    parser.add_argument("--list", action="store_true", help="print the rows, run nothing")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there after each row")
    given = parser.parse_args()
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit("told to end (SIGTERM)")
    )  # so that what was started is ended
    rows = chosen(given.words, everything=given.all)
    if given.list:
        print("\n".join(rows))
        return 0
    return 0 if run(rows, given.markdown) else 1


if __name__ == "__main__":
    sys.exit(main())
