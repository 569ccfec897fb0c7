"""Where did a run come from? Finds its workspace again, and what a report must say of its data.

In: a run folder, perhaps one that `flwr run` left without a report. Out: the workspace and an `About`. A workspace
belongs to a run when the public sets and the initial weights have the digests that the run's study names.
"""

import json
from pathlib import Path
from typing import Any

from server.evaluation.run_records import About
from server.runs.run_folder import RunFolder
from server.runs.summary import Summary, read_summary
from shared.config.files import read_study
from shared.config.study import StudyConfig
from shared.errors import RoundsError, StudyError


def run_folder(path: Path) -> RunFolder:
    """Return the folder of a run; `StudyError` when no study began there."""
    folder = RunFolder(path.resolve())
    if not folder.study.is_file():
        raise StudyError(
            f"RUN_DIR is {str(path)!r}: holds no study.yaml, so no study began there; see `rounds-hub runs`"
        )
    return folder


def origin(folder: RunFolder, workspace: Path | None) -> Path:
    """Return the workspace of a run: the one given if it fits, else the one beside it that does."""
    study = read_study(folder.study)
    if workspace is not None:
        if not _fits(workspace, study):
            raise StudyError(
                f"--workspace is {str(workspace)!r}: its study.yaml has other public sets or initial weights than "
                "this run; give the workspace that the run started from"
            )
        return workspace.resolve()
    beside = folder.path.parent / "workspaces"
    for path in sorted(beside.glob("*/study.yaml")):
        if not path.parent.is_symlink() and _fits(path.parent, study):
            return path.parent.resolve()
    raise StudyError(
        f"no workspace in {beside} has this run's public sets and initial weights; give it with --workspace"
    )


def about(folder: RunFolder, workspace: Path) -> About:
    """Say of the data what an earlier report said, else what the workspace says."""
    told: dict[str, Any] = {}
    if (workspace / "prepared.json").is_file():
        told = json.loads((workspace / "prepared.json").read_text(encoding="utf-8"))
    earlier = _earlier(folder)
    if earlier is not None:
        facts = earlier.study
        return About(facts.data_kind, facts.data_name, facts.notes, facts.attribution, dict(earlier.seconds))
    made = (
        workspace / "data" / "manifest.csv"
    ).is_file()  # phantoms lie in their workspace, real data elsewhere
    return About(
        str(told.get("data_kind", "made" if made else "real")),
        str(told.get("title", workspace.name)),
        tuple(told.get("notes", ())),
        str(told.get("attribution", "")),
        dict(told.get("seconds", {})),
    )


def _earlier(folder: RunFolder) -> Summary | None:
    try:
        return read_summary(folder.path)
    except RoundsError:
        return None


def _fits(workspace: Path, study: StudyConfig) -> bool:
    try:
        own = read_study(workspace / "study.yaml")
    except RoundsError:
        return False
    return (own.public, own.models, own.task) == (study.public, study.models, study.task)
