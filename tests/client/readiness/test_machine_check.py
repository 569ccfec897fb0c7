"""What a hospital is told of its machine."""

import shutil
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from client.readiness.machine_check import (
    device_finding,
    disk_finding,
    gpu_memory_finding,
    machine_findings,
    memory_available,
    memory_finding,
    step_bytes,
)
from client.site.device import Gpu
from shared.config.site import Compute

GPU = Gpu("Tesla Made-Up", 30 * 10**9, 40 * 10**9)


def test_a_device_is_named_with_its_memory() -> None:
    """The cpu by name; a GPU with name, free memory and the share that a request may take; why auto is the cpu."""
    assert device_finding(Compute(), "cpu", None).sentence.endswith("steps are taken on the cpu")
    assert "finds no GPU here" in device_finding(Compute(device="auto"), "cpu", None).sentence
    whole = device_finding(Compute(device="auto"), "cuda:0", GPU)
    assert whole.mark == "ok"
    assert whole.sentence.endswith("cuda:0, Tesla Made-Up, 30.0 of 40.0 GB free")
    half = device_finding(Compute(device="cuda", gpu_memory_fraction=0.5), "cuda:0", GPU)
    assert half.sentence.endswith("of which a request may take 50%")


def test_a_missing_gpu_fails_the_check(tiny_federation: Any, tmp_path: Path) -> None:
    """Where site.yaml names a GPU that is not there; the rest of the machine is still looked at."""
    site = tiny_federation.site("film", tmp_path, compute={"device": "cuda:99"})
    found = {one.what: one for one in machine_findings(site, tiny_federation.study, 4)}
    assert found["device"].mark == "fail"
    assert "compute.device is 'cuda:99': torch finds" in found["device"].sentence
    assert {"threads", "memory", "target cache"} <= found.keys()


def test_scarce_memory_of_a_gpu_says_what_to_do() -> None:
    """What is free counts, and what the fraction allows."""
    marks = [gpu_memory_finding(needed * 10**9, GPU, 1.0).mark for needed in (14, 16, 31)]
    assert marks == ["ok", "warn", "fail"]
    assert gpu_memory_finding(14 * 10**9, GPU, 0.25).mark == "fail"
    assert "10.0 GB are free and allowed" in gpu_memory_finding(14 * 10**9, GPU, 0.25).sentence
    assert "raise compute.gpu_memory_fraction" in gpu_memory_finding(14 * 10**9, GPU, 0.25).sentence


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU on this machine")
def test_a_gpus_memory_is_forecast(tiny_federation: Any, tmp_path: Path) -> None:
    """With a GPU the forecast of a step is compared with the GPU's memory."""
    site = tiny_federation.site("film", tmp_path, compute={"device": "cuda"})
    found = {one.what: one for one in machine_findings(site, tiny_federation.study, 4)}
    assert found["device"].mark == "ok"
    assert "GPU memory" in found


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
    one, two, three = (step_bytes(compact, study, chunk) for chunk in (1, 2, 3))
    assert abs((three - two) - (two - one)) <= 1
    assert two - one > sum(array.nbytes for array in tiny_federation.initial.values())
    assert one == pytest.approx(two - one, abs=1)


def test_memory_counts_what_a_forward_pass_keeps(tiny_federation: Any, tmp_path: Path) -> None:
    """A picture of twice the side keeps about four times as much."""
    site = tiny_federation.site("film", tmp_path)
    small = tiny_federation.study
    large = tiny_federation.changed(task={"image_size": 64})
    costs = []
    for study in (small, large):
        compact, _ = site.compact(small)
        costs.append(step_bytes(compact, study, 2) - step_bytes(compact, study, 1))
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
