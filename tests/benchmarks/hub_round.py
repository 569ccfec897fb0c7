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
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
import torch
from flwr.app import Message
from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.grid.http_grid import HttpGrid

from server.aggregation import update_norm
from server.exchange import Exchange
from server.run_folder import RunFolder
from server.study import run_study
from shared.arrays import to_arrays
from shared.config import StudyConfig, TrainableSet
from shared.config_files import overridden, parse_study, read_yaml
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
    look_seconds: float = 0.0
    values: int = 0
    before_mib: float = 0.0
    peak_mib: float = 0.0


class TimedGrid(HttpGrid):
    """Flower's Grid over HTTP, which notes when messages pass."""

    def __init__(self, around: Surroundings) -> None:
        super().__init__(around.superlink, False, around.ca, token=around.token)
        self.measured = Measured()
        self._last_pull: tuple[float, float] | None = None  # by the clock, and in seconds of a core
        client = self._runtime_client
        self._confirm, self._look = client.ConfirmMessageReceived, client.PullMessages
        client.ConfirmMessageReceived = self._confirmed
        client.PullMessages = self._looked

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

    def _confirmed(self, request: Any) -> Any:
        """All bytes of a reply are in this process."""
        self._last_pull = time.monotonic(), time.process_time()
        self.measured.pulled[request.message_object_id] = self._last_pull[0]
        return self._confirm(request)

    def _looked(self, request: Any) -> Any:
        began = time.monotonic()
        found = self._look(request)
        self.measured.looks += 1
        self.measured.look_seconds += time.monotonic() - began
        return found


def benchmark_study(trainable: TrainableSet, sites: int) -> StudyConfig:
    """Return the study of one case."""
    changes = {
        "privacy.trainable": trainable, "privacy.noise_multiplier": 0.8, "federation.rounds": ROUNDS,
        "federation.quorum": sites, "federation.min_sites": sites, "distillation.weights": {},
        "federation.enrolment_seconds": 1800, "federation.deadline_seconds": 1800,
    }  # fmt: skip
    raw = read_yaml(ROOT / "deploy" / "studies" / "phantoms.yaml")
    return parse_study(overridden(raw, changes), "the benchmark's study")


def run_hub(around: Surroundings, study: StudyConfig, folder: Path) -> Measured:
    """Run the study in this process and measure it."""
    torch.set_num_threads(1)
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = around.run_id, 1, around.task_id
    compact = build_compact(study)
    parameters = dict(compact.named_parameters())
    initial = to_arrays(
        {name: parameters[name] for name in trainable_names(compact, study.privacy.trainable)}
    )
    grid = TimedGrid(around)
    alive = HeartbeatSender(make_task_heartbeat_fn_http(grid._runtime_client))
    alive.start()
    measured = grid.measured
    try:
        grid.set_run(Run.create_empty(around.run_id))
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew (proc(5))
        measured.before_mib = memory_mib("VmRSS")
        state = run_study(
            study, initial, Exchange(grid), RunFolder(folder), lambda weights: {"norm": update_norm(weights)}
        )
        measured.peak_mib = memory_mib("VmHWM")
    finally:
        alive.stop()
        grid.close()
    assert state.rounds_done == ROUNDS
    measured.values = sum(array.size for array in initial.values())
    return measured


def memory_mib(what: str) -> float:
    """Return a figure of this process's memory: VmRSS (now) or VmHWM (peak)."""
    found = re.search(rf"^{what}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def measure(trainable: TrainableSet, sites: int) -> dict[str, Any]:
    """Run one study in three processes and return its figures."""
    study = benchmark_study(trainable, sites)
    with tempfile.TemporaryDirectory(prefix="rounds-hub-") as scratch:
        folder = Path(scratch)
        with surroundings(folder, sites) as around:
            here, there = CONTEXT.Pipe()
            simulated = CONTEXT.Process(target=run_sites, args=(around, study, there), daemon=True)
            simulated.start()
            try:
                with CONTEXT.Pool(1) as pool:
                    measured = pool.apply(run_hub, (around, study, folder))
                here.send("over")
                times: Times = here.recv()
            finally:
                simulated.join(timeout=60)
                simulated.kill()
    return row(trainable, sites, measured, times)


def row(trainable: TrainableSet, sites: int, measured: Measured, times: Times) -> dict[str, Any]:
    """Return the figures of one case; the way from enrolment to round 1 is not a round's."""
    at_node = [times.received[one] - measured.sent[one] for one in measured.sent]
    at_hub = [measured.pulled[one] - times.available[one] for one in measured.pulled]
    return {
        "trained": trainable,
        "sites": sites,
        "values": measured.values,
        "seconds": statistics.median(measured.handed[1:]),
        "most": max(measured.handed[1:]),
        "cpu_seconds": statistics.median(measured.worked[1:]),
        "seconds_to_pushed": statistics.median(measured.pushed[1:]),
        "answer_waits_seconds": statistics.median(at_hub),
        "answer_waits_most": max(at_hub),
        "request_waits_seconds": statistics.median(at_node),
        "looks_a_round": measured.looks / (ROUNDS + 1),
        "look_seconds": measured.look_seconds / measured.looks,
        "before_mib": measured.before_mib,
        "mib": measured.peak_mib - measured.before_mib,
    }


COLUMNS = (
    ("trained", "{trained:8}"), ("values", "{values:9}"), ("sites", "{sites:6}"), ("hub s", "{seconds:8.3f}"),
    ("most", "{most:8.3f}"), ("cpu s", "{cpu_seconds:8.3f}"), ("pushed s", "{seconds_to_pushed:9.3f}"),
    ("answer waits s", "{answer_waits_seconds:15.2f}"), ("request waits s", "{request_waits_seconds:16.2f}"),
    ("looks", "{looks_a_round:7.0f}"),
    ("ms a look", "{look_milliseconds:10.1f}"), ("MiB", "{mib:6.0f}"), ("from", "{before_mib:6.0f}"),
)  # fmt: skip


def main() -> None:
    """Measure every case and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--case", nargs=2, action="append", metavar=("TRAINED", "SITES"), help="instead of all"
    )
    given = parser.parse_args()
    cases = [(trained, int(sites)) for trained, sites in given.case or CASES]
    rows = []
    for case in cases:
        rows.append(measure(*case))
        print(f"{case[0]}, {case[1]} sites: done", file=sys.stderr, flush=True)
    blank = dict.fromkeys(rows[0], 0) | {"look_milliseconds": 0, "trained": ""}
    print(" ".join(f"{name:>{len(form.format(**blank))}}" for name, form in COLUMNS))
    for one in rows:
        print(
            " ".join(form.format(**one, look_milliseconds=1000 * one["look_seconds"]) for _, form in COLUMNS)
        )
    if given.json:
        given.json.write_text(json.dumps({"rounds": ROUNDS, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
