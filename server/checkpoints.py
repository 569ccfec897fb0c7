"""The study's state between stages: saved whole, atomically, so that a killed study resumes."""

import json
import os
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load, save

from shared.arrays import Arrays
from shared.errors import StudyError

_STATE = "state"


@dataclass(frozen=True)
class StudyState:
    """All that outlives a round. `study_uid` is made at submit, kept on resume, new for a new study."""

    study_digest: str
    weights: Arrays
    study_uid: str = field(default_factory=lambda: uuid.uuid4().hex)
    rounds_done: int = 0
    bytes_received: dict[str, list[int]] = field(default_factory=dict)
    statements: dict[str, dict[str, Any]] = field(default_factory=dict)
    excluded: dict[str, str] = field(default_factory=dict)  # site: why it is not asked any more

    def after_round(self, weights: Arrays) -> "StudyState":
        """Return the state after one more closed round."""
        return replace(self, weights=weights, rounds_done=self.rounds_done + 1)


def save_state(state: StudyState, path: Path) -> None:
    """Write the state so that a reader sees the old one or the new one, never a part."""
    plain = {key: value for key, value in state.__dict__.items() if key != "weights"}
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(save(dict(state.weights), metadata={_STATE: json.dumps(plain, sort_keys=True)}))
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def load_state(path: Path, study_digest: str) -> StudyState | None:
    """Read the state of this study; None when there is none, `StudyError` when it is another study's."""
    if not path.exists():
        return None
    payload = path.read_bytes()
    length = int.from_bytes(payload[:8], "little")
    try:
        plain = json.loads(json.loads(payload[8 : 8 + length])["__metadata__"][_STATE])
        state = StudyState(weights=load(payload), **plain)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise StudyError(
            "checkpoint: is damaged, allowed is the file this hub wrote; choose another output folder"
        ) from error
    if state.study_digest != study_digest:
        raise StudyError(
            f"checkpoint: belongs to study {state.study_digest[:12]}, this one is {study_digest[:12]}; "
            "choose another output folder"
        )
    return state
