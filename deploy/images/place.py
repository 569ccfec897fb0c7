"""One party of a study between images: a container, its volumes, and the process that it runs as an engine would."""

import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from deploy.images.storage import Container, ImageError, environment

_END_SECONDS = 60.0


@dataclass
class Place:
    """One party: a container of its image, its volumes by their place, and the process that it runs."""

    name: str
    container: Container
    volumes: dict[str, Path]
    network: str
    read_only: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    def words(self, command: Sequence[str]) -> list[str]:
        """Return the command that runs another one here."""
        mounts = {
            path: place + (":ro" if place in self.read_only else "") for place, path in self.volumes.items()
        }
        return ["ip", "netns", "exec", self.network, *self.container.words(command, mounts)]

    def tried(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self.words(command),
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def done(self, *command: str) -> str:
        """Run a command that has to succeed; returns what it printed."""
        ended = self.tried(*command)
        if ended.returncode:
            told = (ended.stdout + ended.stderr).strip()[-1500:]
            raise ImageError(f"{self.name}: `{' '.join(command)}` ended with {ended.returncode}: {told}")
        return ended.stdout

    def healthy(self) -> bool:
        """Run the image's own health check."""
        test = self.container.config["Healthcheck"]["Test"]
        return self.tried(*test[1:]).returncode == 0

    def start(self, log: Path) -> None:
        """Run what the image runs."""
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                self.words(self.container.config["Cmd"]),
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )

    def stop(self) -> str:
        """End it as an engine does, by SIGTERM to the command itself; returns what is wrong with its end."""
        if self.process is None:
            return ""
        before = _below(self.process)
        own = [one for one in before if not any("buildah" in word for word in one.cmdline()[:1])]
        if not own:
            return f"ended by itself with {self.process.wait()}"
        own[0].send_signal(self.process_signal())
        try:
            status = self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            return f"still runs {_END_SECONDS:.0f} s after SIGTERM"
        left = [one for one in before if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
        return f"{len(left)} processes are left" if left else (f"ended with {status}" if status else "")

    def process_signal(self) -> int:
        """Return the signal that the image asks for."""
        return int(signal.Signals[self.container.config.get("StopSignal") or "SIGTERM"])

    def kill(self) -> None:
        """Leave nothing."""
        if self.process is not None:
            if self.process.poll() is None:
                for one in [*_below(self.process), psutil.Process(self.process.pid)]:
                    with suppress(psutil.NoSuchProcess):  # it ended meanwhile
                        one.kill()
            self.process.wait()


def _below(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Return what runs below a process, the nearest first."""
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
