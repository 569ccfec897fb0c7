"""A new site and real class folders for tests of setup."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from client.identity.site_folder import make_site

STUDY = """\
schema_version: 1
name: lungs
purpose: a test
ethics_reference: none needed
expires: 2035-12-31
task: {classes: [normal, pneumonia], image_size: 32}
privacy: {epsilon: 4.0, delta: 0.00001, sample_rate: 0.5}
federation: {rounds: 2, steps: 2}
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return the site.yaml of a new site."""
    make_site(tmp_path / "site", "north")
    return tmp_path / "site" / "site.yaml"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Return a study's file with the classes normal and pneumonia."""
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path / "study.yaml"


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Return class folders of real pictures: two of each of eight people, half of them called NORMAL, half opacity."""
    coins = np.random.default_rng(7)
    for number in range(8):
        for view in "ab":
            path = tmp_path / "films" / ("NORMAL", "opacity")[number % 2] / f"person{number}_{view}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(coins.integers(0, 255, (40, 40), dtype=np.uint8)).save(path)
    return tmp_path / "films"
