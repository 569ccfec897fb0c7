"""What the operating system refused, told as one sentence: which file, why, and what to do about it.

In: an OSError that nobody expected, on its way out of a command. Out: a sentence without traceback. Never for a
sentence that leaves a hospital: it names a path.
"""

import errno
import os
from pathlib import Path
from types import TracebackType
from typing import Any

_AGAIN = "then run the same command again"
_WHAT_TO_DO = {
    errno.ENOSPC: f"free space on its volume, {_AGAIN}",
    errno.EDQUOT: f"free space within this account's quota, {_AGAIN}",
    errno.EROFS: f"its volume is read-only: choose another folder, or mount it for writing, {_AGAIN}",
    errno.EACCES: f"give this account the right to it, or choose another place, {_AGAIN}",
    errno.EPERM: f"give this account the right to it, or choose another place, {_AGAIN}",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a part of the path is a file: give a folder",
    errno.EISDIR: "the path is a folder: give a file",
    errno.EEXIST: "something is there already: move it, or choose another name",
    errno.ENAMETOOLONG: "a name may have 255 bytes and a path 4,096: shorten it",
    errno.EMFILE: f"too many files are open: raise `ulimit -n`, {_AGAIN}",
    errno.ENFILE: f"too many files are open on this machine: end other programs, {_AGAIN}",
    errno.ENOMEM: f"memory is short: end other programs, {_AGAIN}",
    errno.EIO: "the disk or the terminal does not answer: look at the machine",
    errno.EADDRINUSE: "another program listens there: end it, or choose another port",
}
_ELSE = f"mend the cause, {_AGAIN}"


def system_sentence(error: OSError) -> str:
    """Return the sentence: file, cause, what to do."""
    file = _named(error)
    cause = (error.strerror or str(error) or type(error).__name__).lower()
    todo = _WHAT_TO_DO.get(error.errno or 0, _ELSE)
    return f"{file}: {cause}; {todo}" if file else f"{cause}; {todo}"


def _named(error: OSError) -> str:
    """Return the file that the system names, else the innermost one that was at hand where it happened.

    A write that fails, as on a full disk, names none.
    """
    if error.filename is not None:
        return _shown(error.filename)
    found = ""
    step: TracebackType | None = error.__traceback__
    while step is not None:
        files = [name for value in step.tb_frame.f_locals.values() if (name := _file(value))]
        found = files[-1] if files else found
        step = step.tb_next
    return found


def _file(value: Any) -> str:
    """Return the path of a file that is open for writing, or a path itself; "" for anything else."""
    if isinstance(value, Path):
        return _shown(value)
    name, mode = getattr(value, "name", None), getattr(value, "mode", None)
    is_written = isinstance(mode, str) and any(sign in mode for sign in "wax+")
    return _shown(name) if is_written and isinstance(name, str | bytes | os.PathLike) else ""


def _shown(name: Any) -> str:
    """Return a path as text that any terminal takes, also where it is no UTF-8."""
    text = os.fsdecode(name) if isinstance(name, str | bytes | os.PathLike) else str(name)
    return text.encode("utf-8", "replace").decode()
