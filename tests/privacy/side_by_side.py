"""Jobs run side by side by a few workers, each one process of one thread."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
Answer = dict[str, Any]


class Workers:
    """A few workers with the libraries loaded; a context manager that ends them."""

    def __init__(self, room: Path, count: int = 2, *, quick: bool = False) -> None:
        self._room, self._quick = room, quick
        environment = os.environ | {
            "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1",
        }  # fmt: skip
        self._free: SimpleQueue[subprocess.Popen[str]] = SimpleQueue()
        self._all = [self._started(room / f"worker-{number}.log", environment) for number in range(count)]
        for worker in self._all:
            self._free.put(worker)

    def _started(self, errors: Path, environment: dict[str, str]) -> "subprocess.Popen[str]":
        command = [sys.executable, "-W", "ignore", "-m", "tests.privacy.worker"]
        with errors.open("w") as told:
            return subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=told, text=True, cwd=self._room,
                env=environment,
            )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._all:
            if worker.stdin is not None:
                worker.stdin.close()
            if kind is not None:
                worker.kill()
            worker.wait()
            if worker.stdout is not None:
                worker.stdout.close()

    def run(self, job: str, tree: Path = ROOT, **more: Any) -> Answer:
        """Run one job on the next free worker."""
        worker = self._free.get()
        try:
            asked = {"job": job, "tree": str(tree), "room": str(self._room), "quick": self._quick, **more}
            if worker.stdin is None or worker.stdout is None:
                raise RuntimeError("a worker has no pipes")
            worker.stdin.write(json.dumps(asked) + "\n")
            worker.stdin.flush()
            line = worker.stdout.readline()
            if not line:
                raise RuntimeError(f"a worker ended; see {self._room}/worker-*.log")
            answer: Answer = json.loads(line)
            return answer
        finally:
            self._free.put(worker)

    def all(self, calls: Sequence[Callable[[], Any]]) -> list[Any]:
        """Make calls that each use a worker, as many at a time as there are workers; results in order."""
        with ThreadPoolExecutor(len(self._all)) as threads:
            return list(threads.map(lambda call: call(), calls))
