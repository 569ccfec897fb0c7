"""Run a study with one site behind a slow and long link, and see how long a round takes there.

`python -m tests.system.slow_link` makes a federation in miniature with the real student (OFA-595), lets one site reach
the hub through 2 Mbit/s and 300 ms in each direction (`tests/system/links.py`), runs one round, and prints seconds
and bytes. `--trainable all` moves 30 MB each way, which takes minutes; `--values float16` halves what the site sends.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

from server.studies.submissions import SubmittedStudy
from shared.config.study import TrainableSet
from shared.config.values import ArrayType
from tests.conftest import STUDY, make_tiny_federation
from tests.system.deployed import Deployment, deployed, free_port
from tests.system.links import Link, slow_link

BITS_PER_SECOND, DELAY_SECONDS = 2_000_000, 0.3
NEAR, AWAY = "bedside", "film"
DEADLINE_SECONDS = 1200.0


@dataclass(frozen=True)
class Run:
    """A deployment with `AWAY` behind the link and `NEAR` beside the hub, and a study that is over."""

    deployment: Deployment
    study: SubmittedStudy
    link: Link

    def seconds_to_answer(self, site: str) -> dict[int, float]:
        """Return by round how long after its begin a site's accepted update was there, from the study's events."""
        begun = {line["round"]: line["time"] for line in self.deployment.events(self.study, "round_started")}
        return {
            line["round"]: (
                datetime.fromisoformat(line["time"]) - datetime.fromisoformat(begun[line["round"]])
            ).total_seconds()
            for line in self.deployment.events(self.study, "answered")
            if (line["site"], line["kind"], line["outcome"]) == (site, "train", "accepted")
        }

    def table(self) -> str:
        """Return seconds and bytes of each site and round, and what the link carried with all headers."""
        sent = self.study.bytes_sent()
        link = (
            f"{AWAY}: network namespace, tbf {BITS_PER_SECOND / 1e6:g} Mbit/s and a forwarding process that delays by "
            f"{DELAY_SECONDS * 1000:g} ms, in each direction"
        )
        answers = (
            f"{site:8} round {number}: {taken:6.1f} s, {sent[site][number]:9} bytes sent"
            for site in (NEAR, AWAY)
            for number, taken in self.seconds_to_answer(site).items()
        )
        return "\n".join([link, *answers, f"carried with all headers: {self.link.carried_bytes()}"])


@contextmanager
def slow_study(folder: Path, workspace: Path, settings: Mapping[str, Any], seconds: float) -> Iterator[Run]:
    """Run one study to its end with one site behind the link and one beside the hub; both must answer each round."""
    address = f"127.0.0.1:{free_port()}"
    both = {"federation.quorum": 2, "federation.min_sites": 2}
    with slow_link(address, bits_per_second=BITS_PER_SECOND, delay_seconds=DELAY_SECONDS) as link:
        reached = {"address": address, "links": {AWAY: link}}
        with deployed(folder, workspace, (NEAR, AWAY), both | dict(settings), **reached) as deployment:
            study = deployment.submit()
            assert deployment.finish(study, seconds) == "completed", study.read().why
            yield Run(deployment, study, link)


def main() -> int:
    """Run one study and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trainable", choices=get_args(TrainableSet), default="all", help="what is trained")
    parser.add_argument("--values", choices=get_args(ArrayType), default="float32", help="how updates travel")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="rounds-slow-"))
    real = STUDY | {"models": STUDY["models"] | {"student": {"architecture": "ofa595"}}}
    workspace = make_tiny_federation(folder / "workspace", real).workspace
    settings = {
        "privacy.trainable": given.trainable, "federation.update_values": given.values, "federation.rounds": 1,
        "federation.enrolment_seconds": DEADLINE_SECONDS, "federation.deadline_seconds": DEADLINE_SECONDS,
    }  # fmt: skip
    with slow_study(folder / "deployment", workspace, settings, 3 * DEADLINE_SECONDS) as run:
        print(f"trained: {given.trainable}, updates as {given.values}\n{run.table()}", flush=True)
    print(f"everything is in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
