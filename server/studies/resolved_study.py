"""The study that is asked: a prepared one, with what a coordinator sets, and nothing left open.

In: a study's file and settings by dotted name. Out: the one study, whose digest is offered to hospitals, approved by
them, submitted, and asked in each request. Whoever needs that study gets it here, so that there is no second one.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from server.rounds.feasibility import calibrated
from shared.config.files import overridden, parse_study, read_yaml
from shared.config.study import StudyConfig
from shared.errors import ConfigError

STUDY_FILE = "study.yaml"


def asked_study(file: Path, settings: Mapping[str, Any], how: str = "--set") -> StudyConfig:
    """Return the study of a file with these settings, its noise calibrated where it leaves it open.

    Of a study that this returned it returns the same again. `ConfigError`, or `PrivacyError` where no noise is enough.
    """
    return calibrated(parse_study(overridden(read_yaml(file), settings), f"{file.name} with {how}"))


def prepared_study(workspace: Path, settings: Mapping[str, Any]) -> StudyConfig:
    """Return the study of a workspace with these settings; `ConfigError` where the workspace was never prepared."""
    file = workspace / STUDY_FILE
    if not file.is_file():
        raise ConfigError(
            f"WORKSPACE is {str(workspace)!r}: holds no {STUDY_FILE}; run `make prepare` or give another folder"
        )
    return asked_study(file, settings)
