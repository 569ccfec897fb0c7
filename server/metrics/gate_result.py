"""What the gate decided about one student: one frozen value, in summary.json and in the audit store alike.

In: what `server/audit/gate.py` judged. Out: what report, model card and dashboard show.
"""

from typing import Literal

from shared.config.values import Frozen

Side = Literal["least", "most"]


class Check(Frozen):
    """One check; `passed` is None where it does not apply, and a check without a value has not passed.

    `side` says on which side of the threshold the value has to lie; files and records of before do not say it.
    """

    name: str
    value: float | None
    threshold: float | None
    passed: bool | None
    sentence: str
    side: Side | None = None


class GateResult(Frozen):
    """The verdict and the checks behind it."""

    verdict: Literal["accepted", "held"]
    sentence: str
    checks: tuple[Check, ...]
