"""What the accountants said before, kept by what they were asked: who reads a study again does not wait for them.

In: mechanisms (public parameters) and delta. Out: epsilons to be read by a person. What is charged, and what is held
against the cap when a request comes, is computed each time and never read from here.
"""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Protocol

from pydantic import Field, TypeAdapter, ValidationError

from shared.errors import ConfigError
from shared.privacy.accountant import Spend, calibrate, spend_against, stated_spend
from shared.privacy.mechanisms import Mechanism, merged
from shared.trust.private_files import write_file

ACCOUNTANTS = ("opacus", "dp-accounting")
MAX_KEPT = 256
_KEPT = TypeAdapter(dict[str, Spend | Annotated[float, Field(gt=0, allow_inf_nan=False)]])


class Figures(Protocol):
    """What is asked of the accountants, as `shared.privacy.accountant` answers them."""

    def stated_spend(self, mechanisms: Sequence[Mechanism], delta: float) -> Spend:
        """Return what is stated of these mechanisms at `delta`."""

    def spend_against(self, mechanisms: Sequence[Mechanism], cap_epsilon: float, delta: float) -> Spend:
        """Return what is held against a cap."""

    def calibrate(self, epsilon: float, delta: float, sample_rate: float, steps: int) -> float:
        """Return the noise multiplier for a budget."""


class ComputedFigures:
    """Every figure computed whenever it is asked."""

    stated_spend = staticmethod(stated_spend)
    spend_against = staticmethod(spend_against)
    calibrate = staticmethod(calibrate)


class KeptFigures:
    """Every figure computed once: a file holds each by the digest of what it answers, once `keep` was called.

    A file that cannot be read is begun anew, and one that cannot be written is left: it saves time, nothing else.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._held = _read(file)
        self._new: dict[str, Spend | float] = {}

    def keep(self) -> None:
        """Write what was computed since; nothing where the site has no folder for it."""
        if not self._new or not self._file.parent.is_dir():
            return
        newest = dict(list((self._held | self._new).items())[-MAX_KEPT:])
        with suppress(ConfigError):
            write_file(self._file, _KEPT.dump_json(newest), replace=True)

    def stated_spend(self, mechanisms: Sequence[Mechanism], delta: float) -> Spend:
        """Return what is stated of these mechanisms at `delta`."""
        return self._spend(["stated", _rows(mechanisms), delta], lambda: stated_spend(mechanisms, delta))

    def spend_against(self, mechanisms: Sequence[Mechanism], cap_epsilon: float, delta: float) -> Spend:
        """Return what is held against a cap."""
        asked = ["against", _rows(mechanisms), cap_epsilon, delta]
        return self._spend(asked, lambda: spend_against(mechanisms, cap_epsilon, delta))

    def calibrate(self, epsilon: float, delta: float, sample_rate: float, steps: int) -> float:
        """Return the noise multiplier for a budget."""
        key = _key(["noise", epsilon, delta, sample_rate, steps])
        kept = self._known(key)
        if isinstance(kept, float):
            return kept
        noise = self._new[key] = calibrate(epsilon, delta, sample_rate, steps)
        return noise

    def _spend(self, asked: list[object], compute: Callable[[], Spend]) -> Spend:
        key = _key(asked)
        kept = self._known(key)
        if isinstance(kept, Spend):
            return kept
        computed = compute()
        figure = Spend(epsilon=computed.epsilon, delta=computed.delta, accountant=computed.accountant)
        if math.isfinite(figure.epsilon):
            self._new[key] = figure
        return figure

    def _known(self, key: str) -> Spend | float | None:
        return self._new.get(key, self._held.get(key))


def _read(file: Path) -> dict[str, Spend | float]:
    try:
        return _KEPT.validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return {}


def _key(asked: list[object]) -> str:
    """Return the digest of a question and of the accountants' versions."""
    content = json.dumps([asked, [version(one) for one in ACCOUNTANTS]])
    return hashlib.sha256(content.encode()).hexdigest()


def _rows(mechanisms: Sequence[Mechanism]) -> list[dict[str, object]]:
    return [one.model_dump(mode="json") for one in merged(mechanisms)]
