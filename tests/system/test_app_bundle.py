"""What travels in the app bundle, and what Flower's run configuration may change."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

from pydantic import BaseModel

from shared.config.study import StudyConfig

REPOSITORY = Path(__file__).resolve().parents[2]
OWN_KEYS = {"workspace", "study", "output", "site-state", "threads"}
CHANGEABLE = ("purpose", "expires", "distillation.weights", "distillation.views_per_step", "privacy", "federation",
              "audit")  # fmt: skip
ONLY_PREPARING_USES = {f"distillation.weights.{term}" for term in
                       ("area", "total_variation", "teacher_on_masked", "teacher_on_complement")}  # fmt: skip


def leaves(model: type[BaseModel], prefix: str = "") -> set[str]:
    found: set[str] = set()
    for name, field in model.model_fields.items():
        kind = field.annotation
        nested = isinstance(kind, type) and issubclass(kind, BaseModel)
        found |= leaves(kind, f"{prefix}{name}.") if nested else {prefix + name}
    return found


def flat(table: dict[str, object], prefix: str = "") -> set[str]:
    found: set[str] = set()
    for name, value in table.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name}
    return found


def test_the_bundle_holds_code_and_studies_only(tmp_path: Path) -> None:
    """The app bundle carries server, client, shared and the study files: no site file, no test, no result."""
    flwr = Path(sys.executable).parent / "flwr"
    environment = {"FLWR_HOME": str(tmp_path / "home"), "PATH": str(flwr.parent), "HOME": str(tmp_path),
                   "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}  # fmt: skip
    subprocess.run(
        [flwr, "build", "--app", str(REPOSITORY)],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
    )
    (bundle,) = tmp_path.glob("*.fab")
    names = {name for name in zipfile.ZipFile(bundle).namelist() if not name.startswith(".info")}
    expected = {
        path.relative_to(REPOSITORY).as_posix()
        for package in ("server", "client", "shared")
        for path in (REPOSITORY / package).rglob("*")
        if path.suffix in {".py", ".json"} and "__pycache__" not in path.parts
    }
    expected |= {
        path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "deploy/studies").glob("*.yaml")
    }
    assert names - {"pyproject.toml", "LICENSE", ".gitignore"} == expected
    assert not any("sites/" in name or name.endswith((".safetensors", ".html", ".csv")) for name in names)


def test_every_changeable_field_of_a_study_can_be_given_to_flwr_run() -> None:
    """`--run-config` knows just the fields that still act after preparing, by dotted name, each empty by default."""
    table = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["flwr"]["app"][
        "config"
    ]
    expected = {name for name in leaves(StudyConfig) if name.startswith(CHANGEABLE)}
    assert expected > ONLY_PREPARING_USES
    assert flat(table) == (expected - ONLY_PREPARING_USES) | OWN_KEYS
