"""Decode pictures in another process: a file's path comes in, its pixels or what is wrong with it go out.

A file on which a codec ends, hangs or asks for gigabytes is that file's problem, whoever else is in the data. What
comes back is read as numbers and as words of ours: nothing that the other process sends is run or unpickled.
"""

import atexit
import io
import json
import mmap
import os
import subprocess
import sys
import tempfile
import threading
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast, get_args

from PIL import Image

from shared.code_digest import code_root
from shared.data.image_problems import PROBLEMS, ImageError
from shared.data.pictures.limits import MAX_PIXELS
from shared.errors import ServiceError

MODES = {"L": 1, "RGB": 3}  # bytes a pixel
MAX_BYTES = 3 * MAX_PIXELS
KEPT_BYTES = 1 << 24  # memory of the largest pictures is given back
WORKERS = 2  # that decode at a time
STARTS = 2  # of a process that is ended from outside while it is asked


@dataclass(frozen=True)
class Limits:
    """What one picture may take; the largest that are allowed take about a tenth of the seconds, a third of the memory.

    Seconds are the decoding process's own, so that a busy machine changes nothing; `wall_seconds` are for a disk that
    does not answer. Memory is beyond what the codecs' code takes.
    """

    cpu_seconds: float = 60
    wall_seconds: float = 600
    memory_bytes: int = 3 << 30


Died = Literal["crash", "slow", "memory", "error"]


class UndecodedError(Exception):
    """A codec ended its process, ran into a limit of seconds or memory, or raised what it likes."""

    def __init__(self, died: Died) -> None:
        super().__init__(died)
        self.died = died


class Decoder:
    """Asks processes of its own to open pictures; they are started when they are first needed.

    `openers` names a module with `OPENERS`: how a file is opened, by a word; each takes a job and returns a picture of
    mode L or RGB. May be used by several threads, of which `WORKERS` are served at a time, and after a fork by both
    processes.
    """

    def __init__(self, openers: str, limits: Limits = Limits()) -> None:
        self._openers, self._limits = openers, limits
        self._begin()
        atexit.register(self.close)
        os.register_at_fork(after_in_child=self._begin)

    def open(self, file: Path, how: str, **more: str) -> Image.Image:
        """Open a file; `how` and `more` are for the openers.

        Errors: `ImageError` of the opener; `UndecodedError`; `ServiceError` where no process can be started.
        """
        job = {"file": str(file.absolute()), "how": how, **more}
        with self._turns:
            worker = self._idle_worker() or self._new_worker()
            for _ in range(STARTS):
                try:
                    answer = worker.ask(job)
                except OSError:  # it was ended from outside: no file can, since it decodes nothing itself
                    worker.end()
                    worker = self._new_worker()
                    continue
                try:
                    return worker.picture(answer)
                finally:
                    self._idle.append(worker)
            worker.end()
        raise _no_worker()

    def close(self) -> None:
        """End the processes; the next picture starts another."""
        while worker := self._idle_worker():
            worker.end()

    def _begin(self) -> None:
        """Begin without processes; a fork has its own, whatever another thread of the parent did at that moment."""
        self._turns = threading.Semaphore(WORKERS)
        self._idle: list[_Worker] = []

    def _idle_worker(self) -> "_Worker | None":
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _new_worker(self) -> "_Worker":
        try:
            return _Worker(self._openers, self._limits)
        except OSError as error:
            raise _no_worker() from error


class _Worker:
    """A running process of `shared/data/decoding/worker.py`; it ends when its requests do, also when we die."""

    def __init__(self, openers: str, limits: Limits) -> None:
        self._number = 0
        self._memory = _memory()
        self._pixels = mmap.mmap(self._memory.fileno(), 0, access=mmap.ACCESS_READ)
        paths = [str(code_root()), *filter(None, [os.environ.get("PYTHONPATH")])]
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")  # since it forks
        words = [str(one) for one in (self._memory.fileno(), *astuple(limits))]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "shared.data.decoding.worker", openers, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=os.environ | threads | {"PYTHONPATH": os.pathsep.join(paths)},
            pass_fds=(self._memory.fileno(),),
            start_new_session=True,  # a terminal's Ctrl-C is for us, and what we then do
        )
        self._answers = io.BufferedReader(cast(io.RawIOBase, self._process.stdout))

    def ask(self, job: dict[str, str]) -> dict[str, Any]:
        """Send a job and wait for its answer; OSError where the process is gone."""
        self._number += 1
        request = json.dumps(job | {"number": self._number}).encode() + b"\n"
        cast(IO[bytes], self._process.stdin).write(request)
        while line := self._answers.readline():
            try:
                answer: dict[str, Any] = json.loads(line)
            except ValueError:  # the empty line before each, or half an answer
                continue
            if answer.get("number") == self._number:
                return answer
        raise OSError("the decoding process has ended")

    def picture(self, answer: dict[str, Any]) -> Image.Image:
        """Read the picture that an answer speaks of, or raise what it says."""
        mode, size = answer.get("mode"), answer.get("size")
        if mode not in MODES or not isinstance(size, list):
            kind = answer.get("kind")
            if kind in PROBLEMS:
                raise ImageError(kind, str(answer.get("sentence")))
            raise UndecodedError(next((one for one in get_args(Died) if one == answer.get("died")), "crash"))
        width, height = size
        num_bytes = width * height * MODES[mode]
        image = Image.frombytes(mode, (width, height), memoryview(self._pixels)[:num_bytes])
        if num_bytes > KEPT_BYTES:
            _empty(self._memory)
        return image

    def end(self) -> None:
        """End the process, if it has not, and close what leads to it."""
        self._process.kill()
        self._process.wait()
        for one in (self._process.stdin, self._answers, self._pixels, self._memory):
            cast(IO[bytes], one).close()


def _memory() -> IO[bytes]:
    """Make a file that has no name, in memory where the system has such."""
    if not hasattr(os, "memfd_create"):
        memory: IO[bytes] = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed in `end`
    else:
        memory = os.fdopen(os.memfd_create("picture"), "w+b", buffering=0)
    _empty(memory)
    return memory


def _empty(memory: IO[bytes]) -> None:
    """Give back what pictures took; a file of nothing but zeros takes no memory."""
    os.ftruncate(memory.fileno(), 0)
    os.ftruncate(memory.fileno(), MAX_BYTES)


def _no_worker() -> ServiceError:
    return ServiceError(
        "the process that decodes pictures cannot be started or was ended from outside; look for memory and process "
        "limits of this machine, then start again"
    )
