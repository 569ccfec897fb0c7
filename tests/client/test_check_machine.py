"""What a hospital is told of its machine."""

import shutil
from pathlib import Path
from typing import Any

import psutil
import pytest

from client.check_machine import (
    PROCESS_BYTES,
    device_finding,
    disk_finding,
    machine_findings,
    memory_available,
    memory_finding,
    memory_needed,
)


@pytest.mark.parametrize(
    ("device", "mark", "what"),
    [
        ("cpu", "ok", "cpu"),
        ("warp", "fail", "allowed is cpu or cuda"),
        ("cuda", "warn", "takes its steps on the cpu"),
        ("cuda:1", "fail", "does not find here"),
        ("mps", "fail", "does not find here"),
    ],
)
def test_a_device_is_there_or_named(device: str, mark: str, what: str) -> None:
    """The cpu is always there; a GPU must be there, and steps are taken on the cpu all the same."""
    found = device_finding(device, num_gpus=1)
    assert found.mark == mark
    assert what in found.sentence


def test_threads_are_compared_with_the_cores_of_this_process(tiny_federation: Any, tmp_path: Path) -> None:
    """As many threads as cores are ok, one more is a warning."""
    cores = len(psutil.Process().cpu_affinity())
    marks = []
    for threads in (cores, cores + 1):
        site = tiny_federation.site("film", tmp_path, compute={"threads": threads})
        found = {one.what: one for one in machine_findings(site, tiny_federation.study, 4)}
        marks.append(found["threads"].mark)
    assert marks == ["ok", "warn"]
    assert found["memory"].mark == found["target cache"].mark == found["link"].mark == "ok"


def test_a_study_that_needs_a_fast_link_is_a_warning(tiny_federation: Any, tmp_path: Path) -> None:
    """Where 2 Mbit/s would miss the deadline the finding names the rate that is needed."""
    study = tiny_federation.changed(privacy={"trainable": "all"}, federation={"deadline_seconds": 30})
    found = {one.what: one for one in machine_findings(tiny_federation.site("film", tmp_path), study, 4)}
    assert found["link"].mark == "warn"
    assert "a site needs" in found["link"].sentence


def test_memory_grows_with_the_patients_of_a_chunk(tiny_federation: Any, tmp_path: Path) -> None:
    """Each further patient costs the same, and never less than the gradient of what is trained."""
    study = tiny_federation.study
    compact, _ = tiny_federation.site("film", tmp_path).compact(study)
    one, two, three = (memory_needed(compact, 10**6, study, chunk) for chunk in (1, 2, 3))
    assert abs((three - two) - (two - one)) <= 1
    assert two - one > sum(array.nbytes for array in tiny_federation.initial.values())
    assert one - (two - one) == pytest.approx(PROCESS_BYTES + 2 * 10**6, abs=1)


def test_memory_counts_what_a_forward_pass_keeps(tiny_federation: Any, tmp_path: Path) -> None:
    """A picture of twice the side keeps about four times as much."""
    site = tiny_federation.site("film", tmp_path)
    small = tiny_federation.study
    large = tiny_federation.changed(task={"image_size": 64})
    costs = []
    for study in (small, large):
        compact, _ = site.compact(small)
        costs.append(memory_needed(compact, 0, study, 2) - memory_needed(compact, 0, study, 1))
    assert 2.5 < costs[1] / costs[0] < 4.5


def test_a_containers_limit_counts(tmp_path: Path) -> None:
    """Both versions of control groups lower what is available; "max", and no group at all, do not."""
    free = memory_available(tmp_path)
    assert free > 10**6
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert memory_available(tmp_path) > 10**6
    (tmp_path / "memory.max").write_text("6000\n")
    assert memory_available(tmp_path) == 5000
    (tmp_path / "memory.max").unlink()
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("900\n")
    (tmp_path / "memory" / "memory.usage_in_bytes").write_text("1000\n")
    assert memory_available(tmp_path) == 0


def test_scarce_memory_and_disk_say_what_to_do(tmp_path: Path) -> None:
    """Less than needed fails, less than twice as much warns; the folder need not exist yet."""
    assert [memory_finding(100, free).mark for free in (99, 150, 200)] == ["fail", "warn", "ok"]
    assert "lower compute.patients_per_chunk" in memory_finding(100, 99).sentence
    free = shutil.disk_usage(tmp_path).free
    state = tmp_path / "not" / "made" / "yet"
    assert [disk_finding(state, needed).mark for needed in (1, int(0.7 * free), 2 * free)] == [
        "ok",
        "warn",
        "fail",
    ]
    assert "move state_dir" in disk_finding(state, 2 * free).sentence
    assert not state.parent.exists()
