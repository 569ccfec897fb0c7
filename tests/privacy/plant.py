"""Copies of the source tree with a fault planted."""

import shutil
from pathlib import Path

from tests.privacy.faults import Fault

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("client", "server", "shared", "deploy")


class CannotPlantError(Exception):
    """An edit's text does not stand exactly once where it should."""


def planted(fault: Fault, folder: Path) -> Path:
    """Copy the sources to `folder` and plant the fault there; `CannotPlantError` where it finds no place."""
    for part in PARTS:
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for edit in fault.edits:
        path = folder / edit.file
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        if text.count(edit.old) != 1:
            raise CannotPlantError(
                f"{edit.file} has {text.count(edit.old)} times {edit.old.strip()!r}, needed is once"
            )
        path.write_text(text.replace(edit.old, edit.new), encoding="utf-8")
    return folder
