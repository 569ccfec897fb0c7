"""Where the student looks after each round: its mean maps, made while sites work and, for the rest, after the study.

In: the weights of closed rounds, and the public reference images that the audit looks at first. Out: one batch of
records a measured round, at most 50 a study. One image takes half a second of a core at 64 px (measured, 136 channels),
so 24 images take as long as a short round itself. Therefore weights wait in the run's folder until their maps are made,
while a study runs only a part of a round's own time is spent on them, and what is left is made with the report.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from server.audit.image_maps import student_map
from server.audit.image_selection import Numbered, choose_images
from server.audit.map_recorder import Looks, audit_frame, box_in
from server.audit.mean_map_records import COARSE, Placed, round_bodies
from server.public_data.images import Progress
from server.runs.checkpoints import StudyState
from server.runs.run_folder import RunFolder
from server.store.intake.outbox import Outbox
from shared.config.study import StudyConfig
from shared.data.images import load_mask, load_pixels, normalise
from shared.data.patients import ImageRecord, Patient
from shared.data.sources import read_source
from shared.errors import RoundsError
from shared.explain.frames import Frame, lifts
from shared.explain.scorecam import evaluating
from shared.models.compact import CompactModel
from shared.models.trainable import load_trainable
from shared.whole_file import whole_file

log = logging.getLogger("rounds.hub")
MOST_ROUNDS: Final = 50  # of a study, evenly spread, the first and the last among them
MOST_IMAGES: Final = 24
MOST_KEPT_BYTES: Final = 256 * 2**20  # of weights that wait
SHARE: Final = 0.25  # of the last round's time that may be spent on maps while sites work
_DONE: Final = object()


def measured_rounds(rounds: int, num_bytes: int) -> frozenset[int]:
    """Return the rounds, from 0, whose maps are made in a study of so many, with weights of so many bytes each."""
    most = min(MOST_ROUNDS, max(2, MOST_KEPT_BYTES // max(num_bytes, 1)))
    return frozenset(np.linspace(0, rounds, min(rounds + 1, most)).round().astype(int).tolist())


@dataclass
class RoundMaps:
    """Makes the maps of one study's rounds, the earliest first, each once."""

    folder: RunFolder
    study: StudyConfig
    workspace: Path
    compact: CompactModel  # its trainable weights are those of the round at work
    _at_work: Iterator[None] | None = field(default=None, repr=False)

    def __call__(self, state: StudyState) -> None:
        """Keep the weights of the last closed round, and spend some of the time that sites need for the next one.

        A reference image that cannot be read costs the maps, not the study: the audit will say which it is.
        """
        self.keep(state)
        end = time.monotonic() + SHARE * float(state.last_round.get("seconds") or 0)
        try:
            while time.monotonic() < end:
                if self._at_work is None:
                    if not (waiting := self._waiting()):
                        return
                    self._at_work = self._make(state.study_uid, waiting[0])
                if next(self._at_work, _DONE) is _DONE:
                    self._at_work = None
        except RoundsError as error:
            self._at_work = None
            log.warning("no maps of rounds: %s", error)

    def keep(self, state: StudyState) -> None:
        """Let the weights of a closed round wait for their maps; those of the last one are the audit's."""
        number, last = state.rounds_done, self.study.federation.rounds
        wanted = measured_rounds(last, sum(array.nbytes for array in state.weights.values())) - {last}
        if number not in wanted or self._outbox.has(state.study_uid, _batch(number)):
            return
        self._folder.mkdir(exist_ok=True)
        with whole_file(self._folder / f"round-{number:05d}.safetensors", durable=False) as part:
            save_file(dict(state.weights), part)

    def finish(self, study_uid: str, looks: Looks, progress: Progress) -> None:
        """Make all maps that still wait, then those of the last round, whose student the audit has just seen."""
        waiting = self._waiting()
        try:
            for done, path in enumerate(waiting, start=1):
                for _ in self._make(study_uid, path):
                    pass
                progress("maps of rounds", done, len(waiting))
        except RoundsError as error:
            log.warning("no maps of rounds: %s", error)
        last = [one.placed for one in looks.seen[: len(self._chosen)] if one.placed is not None]
        self._write(study_uid, self.study.federation.rounds, last)

    def _make(self, study_uid: str, path: Path) -> Iterator[None]:
        """Make the maps of one round, stopping after each image; a file that a power cut spoilt is given up."""
        try:
            weights = load_file(path)
        except (SafetensorError, OSError):
            log.warning("no maps of round %d: the weights that waited cannot be read", _number(path))
            path.unlink()
            return
        placed = []
        for patient, record in self._chosen:
            load_trainable(self.compact, weights)  # meanwhile it may have been another round's
            placed.append(self._placed(patient, record))
            yield
        self._write(study_uid, _number(path), [one for one in placed if one is not None])
        path.unlink()

    def _placed(self, patient: int, record: ImageRecord) -> Placed | None:
        box = box_in(load_mask(record, self.study.task), self._frame)
        if box is None:
            return None
        with evaluating(self.compact):
            found = student_map(self.compact, normalise(load_pixels(record, self.study.task)), record.label)
        inside = lifts(found.map.double().numpy(), box, self._frame, COARSE)
        label = self.study.task.classes[record.label]
        return Placed(patient, label, record.site, {COARSE: {"student": inside}})

    def _write(self, study_uid: str, number: int, placed: Sequence[Placed]) -> None:
        """Write the records of a round, with what changed since the measured round before, once."""
        before = self._measured_before(number, placed)
        bodies = round_bodies(placed, before, self.study.task.classes, self._frame, number)
        self._folder.mkdir(exist_ok=True)
        kept = [one.maps[COARSE]["student"] for one in placed]
        empty = np.full((COARSE, COARSE), np.nan)
        np.save(self._folder / f"maps-{number:05d}.npy", [empty if one is None else one for one in kept])
        self._outbox.add(study_uid, *bodies, batch=_batch(number))
        for path in self._folder.glob("maps-*.npy"):
            if _number(path) < number:
                path.unlink()

    def _measured_before(self, number: int, placed: Sequence[Placed]) -> list[Placed]:
        """Return the same images as they were in the last measured round before, or nothing."""
        earlier = [path for path in sorted(self._folder.glob("maps-*.npy")) if _number(path) < number]
        if not earlier:
            return []
        try:
            values = np.load(earlier[-1])
        except (ValueError, EOFError, OSError):  # spoilt by a power cut
            return []
        if len(values) != len(placed):
            return []
        return [
            replace(one, maps={COARSE: {"student": None if np.isnan(old).any() else old}})
            for one, old in zip(placed, values, strict=True)
        ]

    @cached_property
    def _chosen(self) -> list[Numbered]:
        """The images, read when they are first needed."""
        return choose_images(self._reference, min(self.study.audit.num_images, MOST_IMAGES))

    @cached_property
    def _frame(self) -> Frame:
        return audit_frame(self._reference, self.study)

    @cached_property
    def _reference(self) -> Sequence[Patient]:
        return read_source(self.workspace / "public" / "reference.csv", self.study.task)

    @property
    def _folder(self) -> Path:
        return self.folder.path / "maps"

    @property
    def _outbox(self) -> Outbox:
        return Outbox(self.folder.path)

    def _waiting(self) -> list[Path]:
        return sorted(self._folder.glob("round-*.safetensors"))


def _number(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


def _batch(number: int) -> str:
    return f"maps/{number}"
