"""The privacy label of one site: every field of its ledger statement in words, and which are missing.

In: a `LedgerStatement` as plain values. Out: field names and words, the same on report, dashboard and for the gate.
"""

from collections.abc import Mapping
from typing import Any, Final

from server.presentation.formatting import NOT_STATED, look_up, shown

# without one of these a figure for epsilon means nothing, so the gate holds the student
REQUIRED: Final = (
    "epsilon spent", "delta", "accountant", "unit of privacy", "partition", "adjacency", "sampling", "sample rate",
    "clip (max_grad_norm)", "noise multiplier", "ledger head", "time span", "against whom",
)  # fmt: skip


def missing_fields(one: Mapping[str, Any] | None, clip: str) -> tuple[str, ...]:
    """Return the required fields that a statement leaves open; all of them where there is no statement."""
    if one is None:
        return REQUIRED
    fields = label_fields(one, clip, shown(one.get("epsilon")))
    return tuple(name for name in REQUIRED if fields[name] == NOT_STATED or NOT_STATED in fields[name])


def label_fields(one: Mapping[str, Any], clip: str, spent: str) -> dict[str, str]:
    """Return each field's name and its value in words for one site's statement, 'not stated' where it has none.

    `clip` is the study's, `spent` the epsilon in words.
    """
    mechanisms = [row for part in one.get("partitions", ()) for row in part.get("mechanisms", ())]
    pld = [part.get("pld_epsilon") for part in one.get("partitions", ())]
    cap = one.get("cap_epsilon")
    return {
        "epsilon spent": spent,
        "delta": shown(one.get("delta")),
        "accountant": _joined(part.get("accountant") for part in one.get("partitions", ())),
        "independent check (PLD)": shown(max((value for value in pld if value is not None), default=None)),
        "unit of privacy": _unit(one),
        "partition": _joined(_partition(part) for part in one.get("partitions", ())),
        "adjacency": shown(one.get("adjacency")),
        "sampling": shown(one.get("sampling")),
        "sample rate": _joined(look_up(row, "mechanism.sample_rate") for row in mechanisms),
        "clip (max_grad_norm)": clip,
        "noise multiplier": _joined(look_up(row, "mechanism.noise_multiplier") for row in mechanisms),
        "private steps": shown(sum(look_up(row, "mechanism.steps") or 0 for row in mechanisms) or None),
        "ledger rows": shown(sum(row.get("rows", 0) for row in mechanisms) or None),
        "ledger head": f"{shown(one.get('head_seq'))} · {str(one.get('head_hash', NOT_STATED))[:16]}",
        "time span": f"⚠ {one['span']}" if "simulation" in str(one.get("span")) else shown(one.get("span")),
        "against whom": shown(one.get("trust_model")),
        "cap of the hospital": "not shown by the hospital" if cap is None else shown(cap),
    }


def _unit(one: Mapping[str, Any]) -> str:
    unit = one.get("unit")
    return "all records of one patient identifier" if unit == "patient" else shown(unit)


def _partition(part: Mapping[str, Any]) -> str | None:
    """Say what was spent on the patients of one part; a patient is in one part alone."""
    name, spent = part.get("partition"), part.get("epsilon")
    return None if name is None else f"{name} (epsilon {'no guarantee' if spent is None else shown(spent)})"


def _joined(values: Any) -> str:
    return "; ".join(dict.fromkeys(shown(value) for value in values if value is not None)) or NOT_STATED
