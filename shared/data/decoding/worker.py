"""Decode pictures in a process that may die: one request a line comes in, a picture or one word goes out.

`shared/data/decoding/pool.py` alone starts it. Native codecs end or hang the process that calls them on damaged
streams, which no Python can catch. So the process that was started decodes nothing: it forks one that does, and forks
the next when that one has ended, in about two milliseconds. After a file that could not be decoded a process ends by
itself, so that no file meets what an earlier one left behind in a codec.

Requests are JSON on descriptor 0, answers JSON on 1. Pixels lie in shared memory. Nothing else
is ever written: what codecs say on their own goes nowhere, since it may quote a file.
"""

import gc
import importlib
import json
import mmap
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from shared.data.image_problems import ImageError

Job = Mapping[str, Any]
Openers = Mapping[str, Callable[[Job], Image.Image]]
OVER = 3  # exit status of a process whose requests have come to their end
NUMBER = struct.Struct("=Q")


def serve(openers: Openers, pixels: mmap.mmap, answers: int, seconds: tuple[float, float]) -> None:
    """Fork processes that decode until the requests end; says in place of one that died that it has."""
    current = mmap.mmap(-1, NUMBER.size)  # number of the request that is being decoded, 0 for none
    while True:
        child = os.fork()
        if not child:
            os._exit(_decode_all(openers, pixels, answers, current, seconds))
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == OVER:
            return
        (number,) = NUMBER.unpack_from(current)
        if status and not number:
            return  # ended from outside
        if number:
            hung = os.WIFSIGNALED(status) and os.WTERMSIG(status) in {signal.SIGPROF, signal.SIGALRM}
            NUMBER.pack_into(current, 0, 0)
            _answer(answers, {"number": number, "died": "slow" if hung else "crash"})


def _decode_all(
    openers: Openers, pixels: mmap.mmap, answers: int, current: mmap.mmap, seconds: tuple[float, float]
) -> int:
    """Answer requests until one fails or none comes; returns the exit status."""
    while request := _line(0):
        job = json.loads(request)
        NUMBER.pack_into(current, 0, job["number"])
        _set_limits(*seconds)
        answer = _decoded(openers[job["how"]], job, pixels)
        _set_limits(0, 0)
        _answer(answers, answer | {"number": job["number"]})
        NUMBER.pack_into(current, 0, 0)
        if "died" in answer or answer.get("kind", "").endswith("_unreadable"):
            return 0  # a codec may have stopped in the middle; what is refused by its header leaves nothing behind
    return OVER


def _decoded(opener: Callable[[Job], Image.Image], job: Job, pixels: mmap.mmap) -> dict[str, Any]:
    try:
        image = opener(job)
        raw = image.tobytes()
        pixels[: len(raw)] = raw
    except ImageError as error:
        return {"kind": error.kind, "sentence": str(error)}
    except MemoryError:
        return {"died": "memory"}
    except Exception:  # noqa: BLE001 - codecs raise anything, and their words may quote the file
        return {"died": "error"}
    return {"mode": image.mode, "size": image.size}


def _set_limits(cpu_seconds: float, wall_seconds: float) -> None:
    """Let the system end this process after so many seconds from now, also inside native code; 0 for never."""
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    signal.setitimer(signal.ITIMER_REAL, wall_seconds)


def _line(source: int) -> bytes:
    """Read one line and not a byte more, since another process reads the next; empty at the end."""
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(source, 1 << 16)
        if not part:
            return b""
        line += part
    return line


def _answer(answers: int, answer: Mapping[str, Any]) -> None:
    os.write(
        answers, b"\n" + json.dumps(answer).encode() + b"\n"
    )  # the first ends what a process began before it died


def _confine(most_bytes: int) -> None:
    """Bound memory, and keep pictures out of core dumps."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    taken = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + most_bytes, taken + most_bytes))


def main() -> None:
    """Read the command line, load the codecs, and serve."""
    module, memory, cpu_seconds, wall_seconds, most_bytes = sys.argv[1:]
    answers, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    jobs, pixels = importlib.import_module(module), mmap.mmap(int(memory), 0)
    jobs.load_codecs()
    _confine(int(most_bytes))
    gc.freeze()  # a forked process that collects among the codecs' objects copies their memory
    serve(jobs.OPENERS, pixels, answers, (float(cpu_seconds), float(wall_seconds)))


if __name__ == "__main__":
    main()
