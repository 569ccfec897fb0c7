"""Runs of Flower as a hub or a simulation starts, asks after, stops and reads them, by the Control API (flwr 1.41).

In: the address of our own SuperLink, and the CA where it has a certificate. Out: run ids and Flower's status words. The
API is reached on this machine only; the hub's proxy does not let it out.
"""

import json
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from flwr.proto.control_pb2 import ListRunsRequest, StopRunRequest, StreamLogsRequest
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.error import ApiErrorCode, FlowerError

from shared.errors import ConfigError, ServiceError, StudyError
from shared.processes.flower_environment import bin_folder, flower_environment


class RunUnknownError(StudyError):
    """The SuperLink has no such run: its database was lost."""


RunConfig = Mapping[str, str | int | float | bool]
COMPLETED = "finished:completed"
_CONNECTION = "hub"
_SUBMIT_SECONDS = 120
_FINISHED = "finished"
_NEWEST_RUNS = 100  # far more than go on at one hub


@dataclass(frozen=True)
class Control:
    """The Control API of a SuperLink at host:port whose certificate the CA signed; without a CA it has none."""

    superlink: str
    ca_file: Path | None

    def start(
        self,
        app: str,
        run_config: RunConfig,
        federation: RunConfig | None = None,
        scratch: Path | None = None,
    ) -> int:
        """Start a run of an app: a folder, or @publisher/name==version; returns Flower's id of the run.

        `federation` says how a simulation is to be made, `scratch` where a folder is made for the while.
        """
        with tempfile.TemporaryDirectory(prefix="rounds-", dir=scratch) as home:
            (Path(home) / "config.toml").write_text(
                f'[superlink]\ndefault = "{_CONNECTION}"\n[superlink.{_CONNECTION}]\naddress = "{self.superlink}"\n'
                f"{self._trust()}\n",
                encoding="utf-8",
            )
            (Path(home) / "run.toml").write_text(_as_toml(run_config), encoding="utf-8")
            words = [
                "run",
                app,
                _CONNECTION,
                "--format",
                "json",
                "--run-config",
                str(Path(home) / "run.toml"),
            ]
            if federation is not None:
                words += ["--federation-config", _settings(federation)]
            try:
                done = subprocess.run(
                    [str(bin_folder() / "flwr"), *words], env=flower_environment(Path(home)), cwd=home,
                    capture_output=True, text=True, timeout=_SUBMIT_SECONDS, check=False,
                )  # fmt: skip
            except subprocess.TimeoutExpired as error:
                raise ServiceError(
                    f"SuperLink {self.superlink}: took no run in {_SUBMIT_SECONDS} s"
                ) from error
        start = done.stdout.find("{")
        told = json.loads(done.stdout[start:]) if start >= 0 else {}
        if done.returncode != 0 or "run-id" not in told:
            said = " ".join((done.stdout + done.stderr).split()[-60:])
            raise StudyError(f"flwr {shlex.join(words[:2])}: Flower did not take the run: {said}")
        return int(told["run-id"])

    def status(self, run_id: int) -> str:
        """Return Flower's status of a run, such as `running` or `finished:completed`; `unknown` if there is none."""
        try:
            with self._client() as client:
                runs = client.ListRuns(ListRunsRequest(run_id=run_id)).run_dict
        except RunUnknownError:
            return "unknown"
        found = next(iter(runs.values()))
        return ":".join(part for part in (found.status.status, found.status.sub_status) if part)

    def going_on(self, output: str) -> int | None:
        """Return the newest run that has not ended and writes to this output folder; None where there is none."""
        with self._client() as client:
            runs = client.ListRuns(ListRunsRequest(limit=_NEWEST_RUNS)).run_dict.values()
        found = [
            run
            for run in runs
            if run.status.status != _FINISHED
            and "output" in run.override_config
            and run.override_config["output"].string == output
        ]
        return max(found, key=lambda run: run.pending_at).run_id if found else None

    def stop(self, run_id: int) -> None:
        """Stop a run; one that has ended already stays as it is."""
        with self._client() as client:
            client.StopRun(StopRunRequest(run_id=run_id))

    def log(self, run_id: int) -> Iterator[str]:
        """Yield what a run's ServerApp said, until the run is over."""
        with self._client() as client:
            for part in client.StreamLogs(StreamLogsRequest(run_id=run_id, after_timestamp=0.0)):
                yield part.log_output

    def _trust(self) -> str:
        """Return the line of Flower's configuration that says how to know the SuperLink."""
        if self.ca_file is None:
            return "insecure = true"
        return f"root-certificates = {json.dumps(str(self.ca_file.resolve()))}"

    @contextmanager
    def _client(self) -> Iterator[ControlHttpClient]:
        ca = None if self.ca_file is None else self.ca_file.read_bytes()
        client = ControlHttpClient.from_server_address(self.superlink, ca is None, ca, ())
        try:
            yield client
        except httpx.HTTPStatusError as error:
            told = FlowerError.from_json(error.response.text)
            if told is not None and told.code == ApiErrorCode.RUN_ID_NOT_FOUND:
                raise RunUnknownError(
                    f"SuperLink {self.superlink}: knows no such run; its database is another"
                ) from error
            raise StudyError(
                f"SuperLink {self.superlink}: refused with {error.response.text.strip()[:200]}"
            ) from error
        except httpx.HTTPError as error:
            raise ServiceError(
                f"SuperLink {self.superlink}: does not answer ({error}); see its log, or that of `rounds-hub serve`"
            ) from error
        finally:
            client.close()


def _as_toml(values: RunConfig) -> str:
    """Return the values as a TOML file, which takes quotes and every letter: Flower's command line does not.

    `ConfigError` for text that is no UTF-8, as a path may be.
    """
    for key, value in values.items():
        try:
            str(value).encode()
        except UnicodeEncodeError as error:
            raise ConfigError(
                f"{key} is {value!r}: not in UTF-8, which Flower needs; rename the folder"
            ) from error
    return "".join(f"{json.dumps(key)} = {_toml_value(value)}\n" for key, value in values.items())


def _toml_value(value: str | float | bool) -> str:
    """Write a value as JSON does, which TOML reads, but for the sign DEL and pairs of surrogates."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _settings(values: RunConfig) -> str:
    """Return the values as Flower's command line reads them."""
    return " ".join(f"{key}={json.dumps(value)}" for key, value in values.items())
