"""Which processes a deployment has on this machine: by the folder that they were started for, and by who began them."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil


def of_folder(folder: Path) -> list[psutil.Process]:
    """Return every process that still runs, of all that was ever started for a deployment in this folder."""
    return [one for one in psutil.process_iter() if _belongs(one, folder)]


def strays(folder: Path, tops: Iterable[int]) -> list[psutil.Process]:
    """Return what runs for the folder, but is neither one of `tops` nor below one: nobody would end it."""
    kept = {number for top in tops for number in (top, *(one.pid for one in below(top)))}
    return [one for one in of_folder(folder) if one.pid not in kept]


def zombies(tops: Iterable[int]) -> list[psutil.Process]:
    """Return what ended below one of `tops` and was never waited for."""
    found = []
    for one in (child for top in tops for child in below(top)):
        with suppress(psutil.NoSuchProcess):
            found += [one] if one.status() == psutil.STATUS_ZOMBIE else []
    return found


def below(top: int) -> list[psutil.Process]:
    """Return a process's children, and theirs; none where it is gone."""
    try:
        return psutil.Process(top).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def youngest(top: int, end: str) -> int | None:
    """Return the youngest process below `top` with a word of this end in its command line; None without one."""
    found = []
    for one in below(top):
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if any(part.endswith(end) for part in one.cmdline()):
                found.append((one.create_time(), one.pid))
    return max(found)[1] if found else None


def _belongs(process: psutil.Process, folder: Path) -> bool:
    """Tell whether a process was started for the folder: its working folder or a word of it lies there."""
    try:
        told = " ".join([process.cwd(), *process.cmdline(), *process.environ().values()])
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return False
    return process.pid != os.getpid() and str(folder) in told
