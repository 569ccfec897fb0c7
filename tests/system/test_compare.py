"""A comparison as a process of its own: ended by a signal it leaves nothing behind, and goes on where it stopped."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
SITES = ("bedside", "children", "film")
STUDY = {
    "name": "tiny",
    "purpose": "test the comparisons",
    "ethics_reference": "none needed",
    "expires": "2035-12-31",
    "task": {"classes": ["normal", "opacity"], "positive": "opacity", "image_size": 32},
    "models": {
        "teacher": {"name": "resnet10t"},
        "student": {"architecture": {"kernels": [3] * 20, "expand_ratios": [3] * 20, "depths": [2] * 5}},
        "explainer": {"width": 4},
    },
    "warm_start": {"epochs": 1, "batch_size": 8},
    "privacy": {"noise_multiplier": 8.0, "sample_rate": 0.5},
    "federation": {"rounds": 1, "steps": 60, "learning_rate": 0.1, "quorum": 2, "min_sites": 3},
}
HOSPITALS = {
    "title": "tiny",
    "phantoms": {"public": {"style": "public", "train": 24}}
    | {site: {"style": site, "train": 4, "val": 2, "test": 4} for site in SITES},
    "public_site": "public",
    "declared_patients": dict.fromkeys(SITES, 4),
    "teacher_epochs": 1,
}
SECONDS = 400
END_SECONDS = 10  # a busy machine's allowance for what takes one or two


class Comparison:
    """`python -m deploy.simulation.program compare` in a folder of its own, and all its processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "results" / "compare"
        with (folder / "output.log").open("ab") as output:
            self.start = output.tell()
            self.process = psutil.Popen(
                [sys.executable, "-m", "deploy.simulation.program", "compare",
                 "--study", "study.yaml", "--sites", "sites.yaml"],
                cwd=folder,
                env=os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
                stdout=output,
                stderr=output,
            )  # fmt: skip

    def said(self) -> str:
        """Return what this process has printed."""
        return (self.folder / "output.log").read_bytes()[self.start :].decode()

    def wait_until(self, true: Callable[[], object]) -> None:
        """Watch until something is so; the process must still run by then."""
        end = time.monotonic() + SECONDS
        while not true():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < end, self.said()
            time.sleep(0.01)

    def workers(self) -> list[psutil.Process]:
        """Return the processes that train a site alone."""
        return [one for one in self.process.children() if "spawn_main" in " ".join(one.cmdline())]

    def alone(self) -> list[str]:
        """Return the sites whose own figures are kept."""
        kept = self.store.glob("*/site_alone.*.npy")
        return sorted(path.name.split(".")[1] for path in kept if ".part." not in path.name)

    def end(self) -> None:
        """Send SIGTERM while no worker can finish; the process ends soon, as ended, and leaves no other."""
        for one in self.workers():
            one.suspend()
        started = [self.process, *self.process.children(recursive=True)]
        self.process.send_signal(signal.SIGTERM)
        _, alive = psutil.wait_procs(started, timeout=END_SECONDS)
        assert not alive, self.said()
        assert self.process.returncode == 128 + signal.SIGTERM


@pytest.fixture
def comparison(tmp_path: Path) -> Iterator[Callable[[], Comparison]]:
    """Start comparisons in one folder; whatever a failed test leaves is ended."""
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(STUDY), encoding="utf-8")
    (tmp_path / "sites.yaml").write_text(yaml.safe_dump(HOSPITALS), encoding="utf-8")
    begun: list[Comparison] = []

    def begin() -> Comparison:
        begun.append(Comparison(tmp_path))
        return begun[-1]

    yield begin
    for one in begun:
        if one.process.is_running():
            for child in one.process.children(recursive=True):
                child.kill()
            one.process.kill()


def test_a_signal_ends_the_sites_alone_and_keeps_what_is_done(comparison: Callable[[], Comparison]) -> None:
    """SIGTERM among the sites alone ends it all in seconds; the same command again does only what was left."""
    first = comparison()
    first.wait_until(first.alone)
    assert len(first.workers()) == 2
    first.end()
    done = first.alone()
    assert 1 <= len(done) < len(SITES)
    kept = {path: path.read_bytes() for path in first.store.rglob("*.npy")}
    runs = sorted((first.folder / "results").glob("tiny-*"))

    again = comparison()
    left = ", ".join(site for site in SITES if site not in done)
    again.wait_until(lambda: f"Comparing: site_alone, {left}\n" in again.said())
    again.wait_until(again.workers)
    again.end()
    assert "Preparing" not in again.said()
    assert sorted((first.folder / "results").glob("tiny-*")) == runs
    assert {path: path.read_bytes() for path in kept} == kept
