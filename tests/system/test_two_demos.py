"""Two demos begun at once in one folder: one prepares, the other waits, and each does what it was asked."""

import subprocess
from pathlib import Path
from typing import Any

from server.runs.run_folder import read_lines
from shared.config.files import read_study
from tests.system.small_demo import BUDGETS, FILED, HOSPITALS, demo_environment, demo_words, small_study

SECONDS = 400


def test_two_demos_at_once_keep_their_own_settings(tmp_path: Path) -> None:
    """Of two demos that differ in epsilon each states what it was asked, in its study and its sites' ledgers."""
    small_study(tmp_path)
    started = []
    for epsilon in BUDGETS:
        command = [*demo_words("demo"), "--set", f"privacy.epsilon={epsilon}"]
        with (tmp_path / f"{epsilon:g}.log").open("wb") as log:
            started.append(
                subprocess.Popen(command, cwd=tmp_path, env=demo_environment(), stdout=log, stderr=log)
            )
    statuses = [one.wait(timeout=SECONDS) for one in started]
    logs = [(tmp_path / f"{epsilon:g}.log").read_text(encoding="utf-8") for epsilon in BUDGETS]
    assert statuses == [0, 0], logs
    assert sum("Waiting for another process that prepares" in log for log in logs) <= 1
    assert sum("warm start: 1 of" in log for log in logs) == 1  # made once
    runs = sorted(path.parent for path in tmp_path.glob("results/tiny-*/asked.yaml"))
    stated = {read_study(run / "study.yaml").privacy.epsilon: spent(run) for run in runs}
    assert set(stated) == set(BUDGETS)
    for epsilon, found in stated.items():
        assert set(found) == set(HOSPITALS)
        assert all(0.95 * epsilon <= one <= epsilon for one in found.values()), stated
    prepared = read_study(tmp_path / "results" / "workspaces" / "phantoms" / "study.yaml")
    assert prepared.privacy.epsilon == FILED  # the file's: what demos set is no matter of a later plain run


def spent(run: Path) -> dict[str, float]:
    """Return what the sites of a run stated last."""
    lines: list[dict[str, Any]] = list(read_lines(run / "rounds.jsonl"))
    return dict(lines[-1]["epsilon"])
