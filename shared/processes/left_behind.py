"""A watchman: when whoever started it is gone, in whatever way, it ends what that one had started of Flower.

`python -m shared.processes.left_behind PIPE HOME FOLDER...`: waits until the other end of the pipe is closed, ends
every process that has HOME as Flower's own folder in its environment, and removes the folders. It hears no signal of
a terminal.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from shared.code_digest import code_root
from shared.processes.process_groups import end_processes

_PASSES = 5  # a process that is ended may have begun another meanwhile
_WAIT_SECONDS = 60.0


@contextmanager
def nothing_left(home: Path, folders: Sequence[Path]) -> Iterator[None]:
    """Have a watchman for the block: after it, or after this process, no process with this home is left."""
    reading, writing = os.pipe()
    words = ["-m", __name__, str(reading), str(home), *map(str, folders)]
    with open(os.devnull, "r+b") as nothing:  # noqa: PTH123 - a device, not a path of ours
        watchman = subprocess.Popen(
            [sys.executable, *words], pass_fds=[reading], start_new_session=True, cwd="/",
            env={"PYTHONPATH": str(code_root())}, stdin=nothing, stdout=nothing, stderr=nothing,
        )  # fmt: skip
    os.close(reading)
    try:
        yield
    finally:
        os.close(writing)
        with suppress(subprocess.TimeoutExpired):
            watchman.wait(_WAIT_SECONDS)


def end_all_of(home: str) -> None:
    """End every process that has this home as Flower's own folder, but this one."""
    for _ in range(_PASSES):
        found = list(_processes(home))
        if not found:
            return
        end_processes(found)


def _processes(home: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("FLWR_HOME") == home:
                yield process
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue


def main() -> None:
    """Wait for the end of the pipe, then clear up."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    pipe, home, *folders = sys.argv[1:]
    os.read(int(pipe), 1)
    end_all_of(home)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
