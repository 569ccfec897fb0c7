"""Who is in a batch is decided by secret coins that no hub can foresee or choose."""

from collections.abc import Iterator
from contextlib import contextmanager

from scipy import stats

from shared.privacy.noise import Coins
from tests.privacy.audit_bounds import MISTAKE
from tests.privacy.room import Room, ask, weights_of
from tests.privacy.table import Check, Finding

STEPS = 5


@contextmanager
def overheard() -> Iterator[list[bool]]:
    """Note what the coins say while a site answers; nothing is changed."""
    said: list[bool] = []
    original = Coins.included

    def included(self: Coins, patient_id: str, step: int, sample_rate: float) -> bool:
        said.append(original(self, patient_id, step, sample_rate))
        return said[-1]

    Coins.included = included  # type: ignore[method-assign]
    try:
        yield said
    finally:
        Coins.included = original  # type: ignore[method-assign]


def secret(room: Room) -> Finding:
    """Ask two sites of one key and one folder, for the very same round, and one for the next round."""
    study = room.study("supervised", privacy={"sample_rate": 0.5}, federation={"steps": STEPS})
    tosses = []
    with room.scratch() as scratch:
        for name, number in (("one", 1), ("again", 1), ("next", 2)):
            site = room.site(scratch / name, cap={"epsilon": 100.0, "delta": 1e-5})
            weights = weights_of(site, study, study.privacy.trainable)
            with overheard() as said:
                ask(site, study, "train", number, weights)
            tosses.append(said)
    count = min(map(len, tosses))
    if count == 0:
        return Finding("coins are tossed", "no coin was tossed", holds=False)
    agreed = max(
        sum(a == b for a, b in zip(tosses[i], tosses[j], strict=False)) for i, j in ((0, 1), (0, 2), (1, 2))
    )
    bound = int(stats.binom.isf(MISTAKE / 3, count, 0.5))
    return Finding(
        f"two answers agree in at most {bound} of {count} coins", f"{agreed} agree", agreed <= bound
    )


def rate(room: Room) -> Finding:
    """Toss coins of many patients at several rates, over steps and over keys."""
    number = 4000 if room.quick else 20_000
    worst = 1.0
    seen = []
    for share in (0.01, 0.1, 0.5, 0.9):
        drawn = sum(Coins.fresh().included(f"p{one}", one % 7, share) for one in range(number // 2))
        coins = Coins.fresh()
        drawn += sum(coins.included(f"p{one}", 3, share) for one in range(number // 2))
        seen.append(f"{drawn / number:.4f}")
        worst = min(worst, float(stats.binomtest(drawn, number, share).pvalue))
    return Finding(
        f"rates 0.01, 0.1, 0.5, 0.9 (p above {MISTAKE:g})", f"{', '.join(seen)}; p {min(1.0, 4 * worst):.2g}",
        4 * worst > MISTAKE,
    )  # fmt: skip


CHECKS = (
    Check("coins, secret", "the hub can neither foresee nor choose who is in a batch",
          "the same request to two copies of a site, and the next round", secret),
    Check("coins, rate", "each patient is drawn with the accounted chance", "toss many coins and count", rate),
)  # fmt: skip
