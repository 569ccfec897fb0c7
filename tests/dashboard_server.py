"""The dashboard in processes of its own, as an operator starts it."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

ANY_PORT = "127.0.0.1:0"
_STOP_SECONDS = 30


@dataclass
class Running:
    """A started dashboard; `password` is the one-time password that it printed, if any."""

    process: subprocess.Popen[str]
    url: str
    password: str | None

    def stop(self, sign: int = signal.SIGTERM) -> int:
        """End it, and return its exit status."""
        self.process.send_signal(sign)
        return self.process.wait(_STOP_SECONDS)


def dashboard(store: Path, *words: str, listen: str = ANY_PORT) -> AbstractContextManager[Running]:
    """Start `rounds-hub dashboard serve` and wait until it listens; it is ended afterwards."""
    return started("dashboard", "serve", "--store", str(store), *words, listen=listen)


@contextmanager
def started(*words: str, listen: str = ANY_PORT) -> Iterator[Running]:
    """Start a command of `rounds-hub` that serves the dashboard."""
    process = subprocess.Popen(
        [sys.executable, "-m", "server.main", *words, "--listen", listen],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"}, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert process.stdout is not None
    said, url, password = "", None, None
    try:
        for line in process.stdout:
            said += line
            url = url or _found(r"Dashboard: (\S+)", line)
            password = password or _found(r"one-time password (\S+)", line)
            if url:
                break
        assert url is not None, said
        yield Running(process, url, password)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(_STOP_SECONDS)
        process.stdout.close()


def _found(pattern: str, line: str) -> str | None:
    match = re.search(pattern, line)
    return match.group(1) if match else None
