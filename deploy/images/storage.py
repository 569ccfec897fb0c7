"""Images and working containers below one folder of our own, by Debian's buildah and podman: no engine runs.

`buildah run` starts a command in a container's root on the host's network; podman saves and loads images, as docker
does, for it needs no engine for that either.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import RoundsError

USER = "10001:10001"


class ImageError(RoundsError):
    """A tool that builds or runs images ended with an error."""


@dataclass(frozen=True)
class Storage:
    """One folder with all that buildah and podman keep."""

    folder: Path
    driver: str = "vfs"

    def words(self, program: str = "buildah") -> list[str]:
        """Return the beginning of each command."""
        places = ("--root", str(self.folder / "root"), "--runroot", str(self.folder / "run"))
        return [program, *places, "--storage-driver", self.driver]

    def call(self, *words: str | Path, program: str = "buildah", log: Path | None = None) -> str:
        """Run a command to its end; returns what it printed, which goes to `log` where one is given."""
        command = [*self.words(program), *map(str, words)]
        if log is not None:
            with log.open("ab") as file:
                done = subprocess.run(command, env=environment(), stdout=file, stderr=file, check=False)
            if done.returncode:
                raise ImageError(
                    f"{program} {words[0]}: ended with {done.returncode}; its words are in {log}"
                )
            return ""
        ended = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
        if ended.returncode:
            raise ImageError(
                f"{program} {words[0]}: ended with {ended.returncode}: {ended.stderr.strip()[-400:]}"
            )
        return ended.stdout.strip()

    def build(
        self,
        file: Path,
        tag: str,
        context: Path,
        *,
        arguments: Mapping[str, str],
        volumes: Sequence[str] = (),
        log: Path | None = None,
    ) -> None:
        """Build a Dockerfile, at a low priority; nothing is pulled."""
        given = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
        mounts = [word for volume in volumes for word in ("--volume", volume)]
        words = ("bud", "--format", "docker", "--pull-never", "--file", file, "--tag", tag)
        self.call(*words, *given, *mounts, context, log=log)

    def config(self, image: str) -> dict[str, Any]:
        """Return what an image says of itself: User, Env, Cmd, Healthcheck, Volumes and the like."""
        told = json.loads(self.call("inspect", "--type", "image", image))
        config: dict[str, Any] = told["Docker"]["config"]
        return config

    def history(self, image: str) -> str:
        """Return what an image tells of how it was made."""
        return json.dumps(json.loads(self.call("inspect", "--type", "image", image))["Docker"]["history"])

    @contextmanager
    def container(self, image: str) -> Iterator["Container"]:
        """Make a working container of an image, and remove it in the end."""
        name = self.call("from", "--pull-never", image)
        try:
            config = self.config(image)
            for place in (
                config.get("Volumes") or ()
            ):  # else buildah mounts one of its own over a volume in a volume
                self.call("config", "--volume", f"{place}-", name)
            yield Container(self, name, Path(self.call("mount", name)), config)
        finally:
            self.call("rm", name)

    def remove(self, image: str) -> None:
        """Remove an image."""
        self.call("rmi", "--force", image)


@dataclass(frozen=True)
class Container:
    """A working container: its root is mounted at `root`; `config` is its image's."""

    storage: Storage
    name: str
    root: Path
    config: dict[str, Any]

    def words(self, command: Sequence[str], volumes: Mapping[Path, str], user: str = USER) -> list[str]:
        """Return the command that runs another one in here; `volumes` holds PLACE or PLACE:ro by folder."""
        mounts = [word for folder, place in volumes.items() for word in ("--volume", f"{folder}:{place}")]
        return [*self.storage.words(), "run", "--user", user, *mounts, self.name, "--", *command]


def environment() -> dict[str, str]:
    """Return an environment in which buildah needs neither an engine nor a runtime."""
    return os.environ | {"BUILDAH_ISOLATION": "chroot"}
