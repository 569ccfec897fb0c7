"""What the hub itself adds to a round, and its memory, as the number of sites grows.

Each case runs a study of a few rounds in a process of its own: the real student's weights over Flower's own Grid and
its state in SQLite, from sites that answer at once. Time is from the last accepted reply pulled to the first message
of the next round pushed; waiting for replies is not in it. Memory is what the process took beyond its first request.

    python tests/benchmarks/hub_round.py --json hub.json
"""

import argparse
import json
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
import numpy as np
import torch
from flwr.app import Message

from server.aggregation import update_norm
from server.exchange import Exchange
from server.run_folder import RunFolder
from server.study import run_study
from shared.arrays import Arrays, to_arrays
from shared.code import code_digest
from shared.config import StudyConfig, TrainableSet
from shared.config_files import overridden, parse_study, read_yaml
from shared.models.compact import build_compact
from shared.models.trainable import trainable_names
from shared.records import decode_request
from shared.releases import EnrolmentRelease, Release, UpdateRelease, encode_release
from tests.conftest import FlowerNodes, payload_of

ROUNDS = 4
CASES: tuple[tuple[TrainableSet, int], ...] = (
    ("scales", 3), ("scales", 10), ("scales", 50), ("all", 3), ("all", 10),
)  # fmt: skip


class TimedGrid(FlowerNodes):
    """Flower's Grid with sites that answer at once; `gaps` has the hub's own seconds between rounds."""

    def __init__(self, database: str, sites: int, study: StudyConfig) -> None:
        super().__init__(database, sites)
        self._study = study
        self._last_pull: float | None = None
        self.gaps: list[float] = []
        self.behaviour = {
            node: lambda request, n=n: self._says(request, n) for n, node in enumerate(self.nodes)
        }

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Note when the first message after a reply is pushed."""
        if self._last_pull is not None:
            self.gaps.append(time.monotonic() - self._last_pull)
            self._last_pull = None
        return super().push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Note when the last replies were pulled."""
        pulled = list(super().pull_messages(message_ids))
        if pulled:
            self._last_pull = time.monotonic()
        return pulled

    def requests(self, node: int) -> list[Message]:
        """Deliver what a node was sent, and keep nothing of it: the figures are the hub's."""
        return list(self.state.get_message_ins(node, None))

    def _says(self, request: Message, number: int) -> dict[str, bytes]:
        asked = decode_request(payload_of(request))
        head = asked.header
        if head.kind == "enrol":
            fields = EnrolmentRelease(
                site=f"site{number:02}", study_digest=self._study.digest(), code_digest=code_digest(),
                versions={}, declared_patients=600,
            )  # fmt: skip
            return {"enrolment": encode_release(Release(head.study_uid, head.round, fields))}
        noise = np.random.default_rng(number)
        update: Arrays = {
            name: noise.standard_normal(array.shape, np.float32) * np.float32(1e-3)
            for name, array in asked.weights.items()
        }
        fields = UpdateRelease(base_sha256=head.base_digest)
        return {"update": encode_release(Release(head.study_uid, head.round, fields, update))}


def measure(trainable: TrainableSet, sites: int) -> dict[str, Any]:
    """Run one study and return its figures."""
    torch.set_num_threads(1)
    changes = {
        "privacy.trainable": trainable, "privacy.noise_multiplier": 0.8, "federation.rounds": ROUNDS,
        "federation.quorum": sites, "federation.min_sites": sites, "distillation.weights": {},
    }  # fmt: skip
    raw = read_yaml(ROOT / "deploy" / "studies" / "phantoms.yaml")
    study = parse_study(overridden(raw, changes), "the benchmark's study")
    compact = build_compact(study)
    parameters = dict(compact.named_parameters())
    initial = to_arrays({name: parameters[name] for name in trainable_names(compact, trainable)})
    with tempfile.TemporaryDirectory() as scratch:
        grid = TimedGrid(str(Path(scratch) / "state.db"), sites, study)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        state = run_study(
            study,
            initial,
            Exchange(grid),
            RunFolder(Path(scratch)),
            lambda weights: {"norm": update_norm(weights)},
        )
    assert state.rounds_done == ROUNDS
    between = grid.gaps[1:]  # the first is from enrolment to round 1
    return {
        "trained": trainable,
        "sites": sites,
        "values": sum(array.size for array in initial.values()),
        "seconds": statistics.median(between),
        "most": max(between),
        "mib": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
    }


def main() -> None:
    """Measure every case and print its figures and their growth from 3 sites."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    target: Path | None = parser.parse_args().json
    context = multiprocessing.get_context("spawn")
    rows = []
    for case in CASES:
        with context.Pool(1) as pool:
            rows.append(pool.apply(measure, case))
    print(f"{'trained':9}{'values':>10}{'sites':>7}{'s a round':>11}{'most':>8}{'x 3 sites':>11}{'MiB':>8}")
    for row in rows:
        base = next(one for one in rows if one["trained"] == row["trained"])
        print(
            f"{row['trained']:9}{row['values']:10}{row['sites']:7}{row['seconds']:11.3f}{row['most']:8.3f}"
            f"{row['seconds'] / base['seconds']:11.2f}{row['mib']:8.0f}"
        )
    if target:
        target.write_text(json.dumps({"rounds": ROUNDS, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
