"""Kill each process of a deployment hard, at each stage of a study, and see what became of the study.

`python -m tests.system.kill_matrix` makes a tiny federation, runs one undisturbed study, then one study for each row
of the table, and prints the table; exit status 1 unless every study was completed with the undisturbed spend. Words
on the command line choose what is killed (`superlink`, `"film node"`) and when (`round_started`). A row takes one to
two minutes.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from server.services import PROXY, REGISTRY, SUPEREXEC, SUPERLINK
from server.submissions import SubmittedStudy
from tests.conftest import SITES, make_tiny_federation
from tests.system.deployed import Deployment, deployed, wait_until

SUPERVISORS = {"hub", *SITES}  # nobody on this machine starts them again, as a container's engine would
TARGETS = (SUPERLINK, SUPEREXEC, REGISTRY, PROXY, "hub", "film node", "film")
STAGES = ("study_started", "round_started", "second round")
SECONDS = 400


def struck(deployment: Deployment, target: str, stage: str) -> tuple[SubmittedStudy, str]:
    """Run one study and kill `target` when it has come to `stage`; returns the study and its state at the end."""
    study = deployment.submit()
    event, count = ("round_started", 2) if stage == "second round" else (stage, 1)
    wait_until(lambda: len(deployment.events(study, event)) >= count, SECONDS, stage)
    deployment.kill(target)
    if target in SUPERVISORS:
        deployment.start_again(target)
    return study, deployment.finish(study, SECONDS)


def row(deployment: Deployment, target: str, stage: str, expected: dict[str, Any]) -> tuple[str, bool]:
    """Return one line of the table, and whether nothing was lost."""
    started = time.monotonic()
    try:
        study, state = struck(deployment, target, stage)
    except AssertionError as error:
        return f"{target:12} {stage:15} {error}", False
    uid = deployment.study_uid(study)
    same = {name: deployment.charged(name, uid) for name in SITES} == expected
    runs, rounds = len(study.read().runs), study.rounds()
    line = (
        f"{target:12} {stage:15} {state:10} rounds {rounds}  runs {runs}  spend {'same' if same else 'OTHER'}"
    )
    return (
        f"{line}  {time.monotonic() - started:4.0f} s  {study.read().why}".rstrip(),
        state == "completed" and same,
    )


def main(chosen: list[str]) -> int:
    """Print the table; returns the exit status."""
    targets, stages = (
        [word for word in chosen if word not in STAGES],
        [word for word in chosen if word in STAGES],
    )
    folder = Path(tempfile.mkdtemp(prefix="rounds-kill-"))
    workspace = make_tiny_federation(folder / "workspace").workspace
    good = True
    with deployed(folder / "deployment", workspace, SITES, {}) as deployment:
        study = deployment.submit()
        assert deployment.finish(study, SECONDS) == "completed"
        uid = deployment.study_uid(study)
        expected = {name: deployment.charged(name, uid) for name in SITES}
        for target in targets or TARGETS:
            for stage in stages or STAGES:
                line, fine = row(deployment, target, stage, expected)
                print(line, flush=True)
                good = good and fine
    left = deployment.left()
    print(f"processes left after the end: {len(left)}; everything is in {folder}")
    return 0 if good and not left else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
