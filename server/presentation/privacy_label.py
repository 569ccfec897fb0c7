"""The privacy label of one site: every field of its ledger statement in words, and which are missing.

In: a `LedgerStatement`. Out: field names and words, the same on report, dashboard and for the gate.
"""

from collections.abc import Iterable
from typing import Final

from server.presentation.formatting import NOT_STATED, shown
from shared.messages.release_kinds import LedgerStatement, PartitionSpend
from shared.privacy.mechanisms import Gaussian, PoissonGaussian

# without one of these a figure for epsilon means nothing, so the gate holds the student
REQUIRED: Final = (
    "epsilon spent", "delta", "accountant", "unit of privacy", "partition", "adjacency", "sampling", "sample rate",
    "clip (max_grad_norm)", "noise multiplier", "ledger head", "time span", "against whom",
)  # fmt: skip


def missing_fields(one: LedgerStatement | None, clip: str) -> tuple[str, ...]:
    """Return the required fields that a statement leaves open; all of them where there is no statement."""
    if one is None:
        return REQUIRED
    fields = label_fields(one, clip, shown(one.epsilon))
    return tuple(name for name in REQUIRED if NOT_STATED in fields[name])


def label_fields(one: LedgerStatement, clip: str, spent: str) -> dict[str, str]:
    """Return each field's name and its value in words for one site's statement, 'not stated' where it has none.

    `clip` is the study's, `spent` the epsilon in words.
    """
    rows = [row for part in one.partitions for row in part.mechanisms]
    noised = [row.mechanism for row in rows if isinstance(row.mechanism, Gaussian | PoissonGaussian)]
    sampled = [mechanism for mechanism in noised if isinstance(mechanism, PoissonGaussian)]
    checked = [part.pld_epsilon for part in one.partitions if part.pld_epsilon is not None]
    return {
        "epsilon spent": spent,
        "delta": shown(one.delta),
        "accountant": _joined(part.accountant for part in one.partitions),
        "independent check (PLD)": shown(max(checked, default=None)),
        "unit of privacy": "all records of one patient identifier",
        "partition": _joined(map(_partition, one.partitions)),
        "adjacency": one.adjacency,
        "sampling": one.sampling,
        "sample rate": _joined(mechanism.sample_rate for mechanism in sampled),
        "clip (max_grad_norm)": clip,
        "noise multiplier": _joined(mechanism.noise_multiplier for mechanism in noised),
        "private steps": shown(sum(mechanism.steps for mechanism in sampled) or None),
        "ledger rows": shown(sum(row.rows for row in rows) or None),
        "ledger head": f"{shown(one.head_seq)} · {one.head_hash[:16]}",
        "time span": f"⚠ {one.span}" if "simulation" in one.span else one.span,
        "against whom": one.trust_model,
        "cap of the hospital": "not shown by the hospital"
        if one.cap_epsilon is None
        else shown(one.cap_epsilon),
    }


def _partition(part: PartitionSpend) -> str:
    """Say what was spent on the patients of one part; a patient is in one part alone."""
    return f"{part.partition} (epsilon {'no guarantee' if part.epsilon is None else shown(part.epsilon)})"


def _joined(values: Iterable[float | str]) -> str:
    return "; ".join(dict.fromkeys(map(shown, values))) or NOT_STATED
