"""The study's state between stages: saved whole, atomically, so that a killed study resumes."""

import json
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from safetensors import SafetensorError
from safetensors.numpy import load

from shared.errors import StudyError
from shared.messages.tensor_bytes import tensor_pieces
from shared.models.arrays import Arrays
from shared.whole_file import whole_file

_STATE = "state"
_CARRIED = "velocity/"  # before the names of the last step's arrays; a weight's name has no slash


@dataclass(frozen=True)
class StudyState:
    """All that outlives a round. `study_uid` is made at submit, kept on resume, new for a new study.

    `carried` is what merging keeps from one round for the next (`server.rounds.merging`); empty before the first round.
    `last_round` is what rounds.jsonl is to say of the last closed round, but for the figures of its student. `heard` is
    what the audit store is to say of the last stage, under the stage's name.
    """

    study_digest: str
    weights: Arrays
    study_uid: str = field(default_factory=lambda: uuid.uuid4().hex)
    rounds_done: int = 0
    bytes_received: dict[str, list[int]] = field(default_factory=dict)
    statements: dict[str, dict[str, Any]] = field(default_factory=dict)
    excluded: dict[str, str] = field(default_factory=dict)  # site: why it is not asked any more
    carried: Arrays = field(default_factory=dict)
    last_round: dict[str, Any] = field(default_factory=dict)
    heard: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def after_round(self, weights: Arrays, carried: Arrays, record: dict[str, Any]) -> "StudyState":
        """Return the state after one more closed round."""
        number = self.rounds_done + 1
        return replace(
            self,
            weights=weights,
            carried=carried,
            rounds_done=number,
            last_round={"round": number} | record,
        )


def save_state(state: StudyState, path: Path) -> None:
    """Write the state so that a reader sees the old one or the new one, never a part; it survives a power cut."""
    plain = {key: value for key, value in state.__dict__.items() if key not in {"weights", "carried"}}
    arrays = dict(state.weights) | {_CARRIED + name: array for name, array in state.carried.items()}
    with whole_file(path) as part, part.open("wb") as file:
        file.writelines(tensor_pieces(arrays, {_STATE: json.dumps(plain, sort_keys=True)}))


class Checkpoints:
    """Saves states one after the other while the hub prepares what comes next; `wait` before anything rests on one.

    Preparing takes cores, saving takes the disk. A state that could not be saved is the error of the next `wait`, and
    of leaving the block.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saver = ThreadPoolExecutor(max_workers=1)
        self._last: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._saver.shutdown()
        if kind is None:
            self.wait()

    def save(self, state: StudyState) -> None:
        """Begin to save a state, whose arrays nobody changes; the one before is durable first."""
        self.wait()
        self._last = self._saver.submit(save_state, state, self._path)

    def wait(self) -> None:
        """Return when the last state is durable."""
        if self._last is not None:
            self._last.result()


def load_state(path: Path, study_digest: str) -> StudyState | None:
    """Read the state of this study; None when there is none, `StudyError` when it is another study's."""
    if not path.exists():
        return None
    payload = path.read_bytes()
    length = int.from_bytes(payload[:8], "little")
    try:
        plain = json.loads(json.loads(payload[8 : 8 + length])["__metadata__"][_STATE])
        arrays = load(payload)
        carried = {name: arrays.pop(name) for name in list(arrays) if name.startswith(_CARRIED)}
        state = StudyState(
            weights=arrays,
            carried={name.removeprefix(_CARRIED): array for name, array in carried.items()},
            **plain,
        )
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
