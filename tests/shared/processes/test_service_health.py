"""Health checks: up, or one sentence on what is not."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.errors import ServiceError
from shared.processes.service_health import answers

REPOSITORY = Path(__file__).resolve().parents[3]


def status(path: Path, pid: int | None = 7, age: float = 0.0, **facts: Any) -> Path:
    time = (datetime.now(UTC) - timedelta(seconds=age)).isoformat()
    path.write_text(json.dumps({"time": time, "services": {"node": {"pid": pid, "starts": 2}}, **facts}))
    return path


def test_running_services_are_healthy(tmp_path: Path) -> None:
    """A fresh file whose services run tells what it knows."""
    found = answers(status(tmp_path / "s.json", hub="there"), "rounds-site run")
    assert (found.pid("node"), found.starts("node"), found.fact("hub")) == (7, 2, "there")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"pid": None}, "node: not running, will be started again"),
        ({"age": 60.0}, "was last written 60 s ago"),
        ({"answers": False}, "run but do not answer"),
    ],
)
def test_what_is_not_well_is_said(tmp_path: Path, changed: dict[str, Any], words: str) -> None:
    """A service that waits, a supervisor that stopped writing and one that does not answer are found."""
    with pytest.raises(ServiceError, match=words):
        answers(status(tmp_path / "s.json", **changed), "rounds-site run")


@pytest.mark.parametrize("content", [None, "", "{}", "[1]"])
def test_no_status_is_not_healthy(tmp_path: Path, content: str | None) -> None:
    """A missing or unreadable file is one sentence that says what to start."""
    if content is not None:
        (tmp_path / "s.json").write_text(content)
    with pytest.raises(ServiceError, match="start `rounds-hub serve`"):
        answers(tmp_path / "s.json", "rounds-hub serve")


def test_the_container_s_check_is_light_and_true(tmp_path: Path) -> None:
    """The module's exit status follows the file, and it loads neither torch nor Flower."""
    code = (
        "import sys; from shared.processes.service_health import main; main(); "
        "sys.exit(3 if {'torch', 'flwr'} & sys.modules.keys() else 0)"
    )
    for path, expected in ((status(tmp_path / "s.json"), 0), (tmp_path / "none.json", 1)):
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], cwd=REPOSITORY, capture_output=True, check=False
        )
        assert done.returncode == expected, done.stderr
