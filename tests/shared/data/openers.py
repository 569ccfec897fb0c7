"""Openers that do what codecs do on damaged files, for tests of the process that decodes."""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from shared.data.image_problems import ImageError

Job = Mapping[str, str]


def _read(job: Job) -> Image.Image:
    with Image.open(job["file"]) as image:
        return image.copy()


def _write_to_nowhere(_: Job) -> Image.Image:
    ctypes.memset(0, 1, 1)
    raise AssertionError


def _abort(_: Job) -> Image.Image:
    os.abort()


def _compute_forever(_: Job) -> Image.Image:
    while True:
        pass


def _wait_forever(_: Job) -> Image.Image:
    while True:
        time.sleep(60)


def _take_memory(_: Job) -> Image.Image:
    raise AssertionError(len(bytearray(1 << 40)))


def _take_native_memory(_: Job) -> Image.Image:
    """Fail as a codec does that does not look at what malloc gives it."""
    malloc = ctypes.CDLL(None).malloc
    malloc.restype, malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    ctypes.memset(malloc(1 << 40) or 0, 1, 1)
    raise AssertionError


def _talk(job: Job) -> Image.Image:
    for stream in (1, 2):
        os.write(stream, b'{"number": 1, "died": "error"} planted-name\n')
    return _read(job)


def _raise(job: Job) -> Image.Image:
    raise RuntimeError(f"planted-name in {job['file']}")


def _refuse(_: Job) -> Image.Image:
    raise ImageError("image_syntax", "image_syntax: a sentence of ours")


def _word_of_no_problem(_: Job) -> Image.Image:
    raise ImageError("image_planted", "planted-name")


def _leave_something(job: Job) -> Image.Image:
    """Raise, and leave behind what the next picture of the same process would meet."""
    sys.modules["shared.data.left_behind"] = sys
    return _raise(job)


def _meet_something(job: Job) -> Image.Image:
    if "shared.data.left_behind" in sys.modules:
        os.kill(os.getpid(), signal.SIGKILL)
    return _read(job)


def _large(_: Job) -> Image.Image:
    return Image.new("RGB", (1 << 12, 1 << 12), (1, 2, 3))


def _empty(_: Job) -> Image.Image:
    return Image.new("L", (0, 7))


def _report_process(job: Job) -> Image.Image:
    Path(job["note"]).write_text(f"{os.getpid()} {os.getppid()}", encoding="utf-8")
    return _read(job)


OPENERS = {
    "read": _read, "write to nowhere": _write_to_nowhere, "abort": _abort, "compute": _compute_forever,
    "wait": _wait_forever, "memory": _take_memory, "native memory": _take_native_memory, "talk": _talk,
    "raise": _raise, "refuse": _refuse, "word": _word_of_no_problem, "leave": _leave_something,
    "meet": _meet_something, "large": _large, "empty": _empty, "process": _report_process,
}  # fmt: skip


def load_codecs() -> None:
    """Load nothing."""
