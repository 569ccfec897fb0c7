"""What the hub itself adds to a round, and its memory, as the number of sites grows.

Each case runs a study of a few rounds with the real student, in three processes as in a deployment: the study's, a
SuperLink, and all sites (`hub_surroundings.py`). Of the study's process alone are measured: the time from the last
accepted reply pulled to the first message of the next round handed to Flower, and pushed; and the memory it took at
its peak beyond what it had before its first request. Shown apart is the waiting that polling costs: requests lie at
the SuperLink until a node looks (every 3 s, Flower's own), answers until the hub looks.

    python tests/benchmarks/hub_round.py --json hub.json
"""

import argparse
import json
import multiprocessing
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
import torch
from flwr.app import Message
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.grid.http_grid import HttpGrid

from server.flower import replies as inbox
from server.rounds.aggregation import update_norm
from server.rounds.exchange import Exchange
from server.rounds.study import run_study
from server.runs.run_folder import RunFolder
from shared.config.files import overridden, parse_study, read_yaml
from shared.config.study import StudyConfig, TrainableSet
from shared.models.arrays import to_arrays
from shared.models.compact import build_compact
from shared.models.trainable import trainable_names
from tests.benchmarks.hub_surroundings import Surroundings, Times, run_sites, surroundings

ROUNDS = 4
CASES: tuple[tuple[TrainableSet, int], ...] = (
    ("scales", 3), ("scales", 10), ("scales", 50), ("all", 3), ("all", 10), ("all", 50),
)  # fmt: skip
CONTEXT = multiprocessing.get_context("spawn")


@dataclass
class Measured:
    """Of the study's process: seconds of each gap between rounds, when messages passed, looks, and memory in MiB."""

    handed: list[float] = field(default_factory=list)  # last reply pulled to first message handed to Flower
    worked: list[float] = field(
        default_factory=list
    )  # the same in seconds of a core, which other jobs do not lengthen
    pushed: list[float] = field(default_factory=list)  # and to that message being at the SuperLink
    sent: dict[str, float] = field(default_factory=dict)
    pulled: dict[str, float] = field(default_factory=dict)
    looks: int = 0
    look_seconds: float = 0.0  # of all looks together
    values: int = 0
    before_mib: float = 0.0
    peak_mib: float = 0.0


class TimedGrid(HttpGrid):
    """Flower's Grid over HTTP, which notes when messages pass."""

    def __init__(self, around: Surroundings) -> None:
        super().__init__(around.superlink, False, around.ca, token=around.token)
        self.measured = Measured()
        self._last_pull: tuple[float, float] | None = None  # by the clock, and in seconds of a core
        self._look = self._runtime_client.PullMessages
        self._runtime_client.PullMessages = self._looked
        self._put_together = inbox._put_together
        inbox._put_together = self._pulled

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Note when the first message after a reply is handed over, and when it was pushed."""
        began, worked = time.monotonic(), time.process_time()
        ids = list(super().push_messages(messages))
        now = time.monotonic()
        self.measured.sent |= dict.fromkeys(ids, now)
        if self._last_pull is not None:
            self.measured.handed.append(began - self._last_pull[0])
            self.measured.worked.append(worked - self._last_pull[1])
            self.measured.pushed.append(now - self._last_pull[0])
            self._last_pull = None
        return ids

    def _pulled(self, root: str, pieces: dict[str, bytes]) -> Message:
        """All bytes of a reply are in this process."""
        self._last_pull = time.monotonic(), time.process_time()
        self.measured.pulled[root] = self._last_pull[0]
        return self._put_together(root, pieces)

    def _looked(self, request: Any) -> Any:
        began = time.monotonic()
        found = self._look(request)
        self.measured.looks += 1
        self.measured.look_seconds += time.monotonic() - began
        return found


def benchmark_study(trainable: TrainableSet, sites: int, rounds: int) -> StudyConfig:
    """Return the study of one case."""
    changes = {
        "privacy.trainable": trainable, "privacy.noise_multiplier": 0.8, "federation.rounds": rounds,
        "federation.merge": "mean",
        "federation.quorum": sites, "federation.min_sites": sites, "distillation.weights": {},
        "federation.enrolment_seconds": 1800, "federation.deadline_seconds": 1800,
    }  # fmt: skip
    raw = read_yaml(ROOT / "deploy" / "studies" / "phantoms.yaml")
    return parse_study(overridden(raw, changes), "the benchmark's study")


def run_hub(around: Surroundings, study: StudyConfig, folder: Path, done: Connection) -> None:
    """Run the study in this process, measure it, and send what was measured through `done`."""
    torch.set_num_threads(1)
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = around.run_id, 1, around.task_id
    compact = build_compact(study)
    parameters = dict(compact.named_parameters())
    initial = to_arrays(
        {name: parameters[name] for name in trainable_names(compact, study.privacy.trainable)}
    )
    with closing(TimedGrid(around)) as grid:
        measured = grid.measured
        grid.set_run(Run.create_empty(around.run_id))
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew (proc(5))
        measured.before_mib = memory_mib("VmRSS")
        state = run_study(
            study, initial, Exchange(grid), RunFolder(folder), lambda weights: {"norm": update_norm(weights)}
        )
        measured.peak_mib = memory_mib("VmHWM")
    assert state.rounds_done == study.federation.rounds
    measured.values = sum(array.size for array in initial.values())
    done.send(measured)


def memory_mib(what: str) -> float:
    """Return a figure of this process's memory: VmRSS (now) or VmHWM (peak)."""
    found = re.search(rf"^{what}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def measure(trainable: TrainableSet, sites: int, rounds: int) -> dict[str, Any]:
    """Run one study in three processes and return its figures."""
    study = benchmark_study(trainable, sites, rounds)
    with tempfile.TemporaryDirectory(prefix="rounds-hub-") as scratch, ExitStack() as ends:
        folder = Path(scratch)
        around = ends.enter_context(surroundings(folder, sites))
        simulated = ends.enter_context(_process(run_sites, around, study))
        hub = ends.enter_context(_process(run_hub, around, study, folder))
        measured: Measured = hub.recv()  # EOFError where the process ended before its study
        simulated.send("over")
        times: Times = simulated.recv()
    return row(study, sites, measured, times)


@contextmanager
def _process(work: Callable[..., None], *words: Any) -> Iterator[Connection]:
    """Start a process; yields this end of the pipe whose other end is the work's last argument."""
    here, there = CONTEXT.Pipe()
    process = CONTEXT.Process(target=work, args=(*words, there))
    process.start()
    there.close()
    try:
        yield here
    finally:
        process.terminate()
        process.join()


def row(study: StudyConfig, sites: int, measured: Measured, times: Times) -> dict[str, Any]:
    """Return the figures of one case; the way from enrolment to round 1 is not a round's."""
    at_node = [times.received[one] - measured.sent[one] for one in measured.sent]
    at_hub = [measured.pulled[one] - times.available[one] for one in measured.pulled]
    return {
        "trained": study.privacy.trainable,
        "sites": sites,
        "values": measured.values,
        "seconds": statistics.median(measured.handed[1:]),
        "most": max(measured.handed[1:]),
        "cpu_seconds": statistics.median(measured.worked[1:]),
        "seconds_to_pushed": statistics.median(measured.pushed[1:]),
        "answer_waits_seconds": statistics.median(at_hub),
        "answer_waits_most": max(at_hub),
        "request_waits_seconds": statistics.median(at_node),
        "looks_a_round": measured.looks / (study.federation.rounds + 1),
        "look_milliseconds": 1000 * measured.look_seconds / measured.looks,
        "before_mib": measured.before_mib,
        "mib": measured.peak_mib - measured.before_mib,
    }


COLUMNS = (  # key, title, form
    ("trained", "trained", ""), ("values", "values", "d"), ("sites", "sites", "d"), ("seconds", "hub s", ".3f"),
    ("most", "most", ".3f"), ("cpu_seconds", "core s", ".3f"), ("seconds_to_pushed", "pushed s", ".3f"),
    ("answer_waits_seconds", "answer waits s", ".2f"), ("request_waits_seconds", "request waits s", ".2f"),
    ("looks_a_round", "looks", ".0f"), ("look_milliseconds", "ms a look", ".1f"), ("before_mib", "MiB before", ".0f"),
    ("mib", "MiB more", ".0f"),
)  # fmt: skip


def main() -> None:
    """Measure every case and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--case", nargs=2, action="append", metavar=("TRAINED", "SITES"), help="instead of all"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of each study, 3 or more")
    given = parser.parse_args()
    cases = [(trained, int(sites)) for trained, sites in given.case or CASES]
    print("  ".join(f"{title:>7}" for _, title, _ in COLUMNS), flush=True)
    rows = []
    for case in cases:
        one = measure(*case, given.rounds)
        rows.append(one)
        cells = (f"{one[key]:>{max(7, len(title))}{form}}" for key, title, form in COLUMNS)
        print("  ".join(cells), flush=True)
    if given.json:
        given.json.write_text(json.dumps({"rounds": given.rounds, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
