"""A real site: a tiny hospital with a key of its own, which approves nothing until it is told to."""

from pathlib import Path
from typing import Any

import pytest

from client.site.site import Site
from shared.config.files import parse_site, read_yaml, write_yaml
from tests.probe_app import Hospital

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def real(tiny_federation: Any, tmp_path: Path) -> Hospital:
    """Return the hospital `film` with its own keys, images and weights, and without any approval."""
    made: Site = tiny_federation.site(
        "film", tmp_path / "unused", approved_studies=[], reply_after_seconds="off"
    )
    hospital = Hospital.made(tmp_path, "film")
    own = read_yaml(hospital.folder / "site.yaml")
    raw = made.config.model_dump(mode="json") | {
        name: own[name] for name in ("state_dir", "head_file", "keys_dir")
    }
    write_yaml(hospital.folder / "site.yaml", parse_site(raw))
    write_yaml(hospital.folder / "study.yaml", tiny_federation.study)
    return hospital
