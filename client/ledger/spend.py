"""What the ledger's rows add up to, by partition, and whether one more would pass the cap.

In: rows, which hold public parameters only. Out: spends, and a refusal before any patient is touched. The figure that
the cap is held against is the one that is stated.
"""

import math
from collections.abc import Sequence
from typing import get_args

from client.ledger.ledger_schema import Row, read_mechanism
from shared.config.kinds import Partition
from shared.config.site import Cap
from shared.errors import ErrorCode, Refusal
from shared.messages.release_kinds import PartitionSpend
from shared.privacy.accountant import spend_against, stated_spend
from shared.privacy.mechanisms import Mechanism, merged

PARTITIONS: tuple[Partition, ...] = get_args(Partition)
EVERY_PARTITION = "all"  # a weights file may have seen any patient


def mechanisms_of(rows: Sequence[Row], partition: str) -> list[Mechanism]:
    """Return everything ever reserved or declared for a partition's patients, answered or not."""
    return [
        read_mechanism(row.mechanism)
        for row in rows
        if row.mechanism is not None and row.partition in {partition, EVERY_PARTITION}
    ]


def partition_spends(rows: Sequence[Row], delta: float) -> tuple[PartitionSpend, ...]:
    """Return the stated spend of each partition at `delta`."""
    spends = []
    for partition in PARTITIONS:
        mechanisms = mechanisms_of(rows, partition)
        figure = stated_spend(mechanisms, delta)
        spends.append(
            PartitionSpend(
                partition=partition,
                epsilon=_finite(figure.epsilon),
                pld_epsilon=_finite(figure.pld_epsilon),
                accountant=figure.accountant,
                mechanisms=merged(mechanisms),
            )
        )
    return tuple(spends)


def check_cap(
    projected: Sequence[Mechanism],
    cap: Cap,
    partition: str,
    *,
    allow_without_privacy: bool,
    what: str = "this request",
) -> None:
    """Refuse (`BUDGET_SPENT`) what would bring a partition's patients over the cap, at the cap's delta."""
    figure = spend_against(projected, cap.epsilon, cap.delta)
    if figure.epsilon <= cap.epsilon or (allow_without_privacy and math.isinf(figure.epsilon)):
        return
    raise Refusal(
        ErrorCode.BUDGET_SPENT,
        f"cap.epsilon is {cap.epsilon:g} at delta {cap.delta:g}, but {what} would bring {partition} "
        f"patients to {figure.epsilon:.4g} ({figure.accountant}); the hospital alone may raise the cap",
    )


def _finite(epsilon: float) -> float | None:
    return epsilon if math.isfinite(epsilon) else None
