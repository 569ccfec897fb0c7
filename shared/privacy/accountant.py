"""How much privacy a list of mechanisms spends, and how much noise a budget asks for.

In: mechanisms (public parameters) and delta. Out: epsilon for adding or removing one patient. Two accountants by
different authors are asked, Opacus's PRV (arXiv 2106.02848), always its upper bound, and dp-accounting's PLD; what is
stated, and held against a cap, is the larger figure of both. All of it may leave the hospital: nothing here is computed
from patients.
"""

import math
import time
from collections.abc import Sequence
from functools import lru_cache

from pydantic import ConfigDict, Field

from shared.config.values import Frozen
from shared.errors import PrivacyError
from shared.privacy.mechanisms import Declared, Gaussian, Mechanism, PoissonGaussian, Unprotected, merged

EPS_ERROR = 0.01  # the grid error that PRV adds to its estimate to make it a bound
PLD_INTERVAL = 1e-4  # PLD rounds losses up to this grid; ten times coarser adds 0.03 over 10,000 steps
MAX_PRV_EPSILON = 150.0  # PRV's grid grows with epsilon; past this the looser RDP figure serves as well
MIN_CALIBRATED_EPSILON = 0.05  # below it PRV's own error would be most of the figure
TOLERANCE = 0.005  # calibration may leave this share of the budget unused

History = tuple[tuple[float, float, int], ...]  # (noise_multiplier, sample_rate, steps), merged and sorted


class Spend(Frozen):
    """Spent privacy: epsilon at delta, and the accountant that says so. Infinite means no guarantee."""

    model_config = ConfigDict(allow_inf_nan=True)

    epsilon: float = Field(ge=0)
    delta: float
    accountant: str


class StatedSpend(Spend):
    """The larger figure of both accountants, named, and beside it what PLD says alone."""

    pld_epsilon: float = Field(ge=0)


def stated_spend(mechanisms: Sequence[Mechanism], delta: float) -> StatedSpend:
    """Return what is stated of these mechanisms at `delta`, and decided by: the larger of `spend` and `spend_pld`."""
    figure, pld = spend(mechanisms, delta), spend_pld(mechanisms, delta)
    larger = figure if figure.epsilon >= pld else Spend(epsilon=pld, delta=delta, accountant="pld")
    return StatedSpend(**larger.model_dump(), pld_epsilon=pld)


def fresh_seconds(mechanisms: Sequence[Mechanism], delta: float) -> float:
    """Return how long both accountants take for this, in a process that has loaded them and remembers no figure."""
    history = _split(mechanisms, delta)[0]
    stated_spend(
        [PoissonGaussian(noise_multiplier=5.0, sample_rate=1.0, steps=1)], delta
    )  # loads the libraries
    started = time.perf_counter()
    _compose.__wrapped__(history, delta)
    _pld.__wrapped__(history, delta)
    return time.perf_counter() - started


def spend_against(mechanisms: Sequence[Mechanism], cap_epsilon: float, delta: float) -> Spend:
    """Return what is held against a cap: the stated spend, or PRV's figure where that alone is beyond the cap.

    PLD's grid grows with epsilon: a study of absurd numbers must not cost the hospital its memory.
    """
    figure = spend(mechanisms, delta)
    return figure if figure.epsilon > cap_epsilon else stated_spend(mechanisms, delta)


def spend(mechanisms: Sequence[Mechanism], delta: float) -> Spend:
    """Compose all mechanisms on the same patients and return their epsilon at `delta`.

    PRV's upper bound; where PRV fails or is looser, RDP's, also an upper bound. Declared rows are added by
    basic composition: their epsilons on top, their deltas out of `delta`. Nothing spent gives 0.

    >>> spend([Declared(epsilon=1.0, delta=1e-6), Declared(epsilon=0.5, delta=1e-6)], delta=1e-5).epsilon
    1.5
    """
    _check_delta(delta)
    history, declared_epsilon, rest, unprotected = _split(mechanisms, delta)
    if unprotected:
        return Spend(epsilon=math.inf, delta=delta, accountant="none: released without privacy")
    if rest < 0 or (history and rest <= 0):
        return Spend(epsilon=math.inf, delta=delta, accountant="none: declared deltas use up delta")
    if not history:
        return Spend(epsilon=declared_epsilon, delta=delta, accountant="basic")
    epsilon, accountant = _compose(history, rest)
    if declared_epsilon > 0 or rest < delta:
        accountant += " + basic"
    return Spend(epsilon=epsilon + declared_epsilon, delta=delta, accountant=accountant)


def spend_pld(mechanisms: Sequence[Mechanism], delta: float) -> float:
    """Return the same epsilon by dp-accounting's privacy loss distributions, add-or-remove adjacency.

    Independent of `spend`: other authors, other discretisation, both directions (arXiv 2207.04380).
    """
    _check_delta(delta)
    history, declared_epsilon, rest, unprotected = _split(mechanisms, delta)
    if unprotected or rest < 0 or (history and rest <= 0):
        return math.inf
    return declared_epsilon + (_pld(history, rest) if history else 0.0)


@lru_cache(maxsize=256)
def calibrate(epsilon: float, delta: float, sample_rate: float, steps: int) -> float:
    """Return the smallest noise multiplier whose stated spend stays within epsilon at delta.

    It uses at least 99 % of the budget. Secant steps between a multiplier that spends too much and one that
    does not, from RDP's answer, which is always on the safe side; then a little more noise where PLD, which takes
    up to seconds and is asked once, finds more than that.
    """
    _check_delta(delta)
    if not (MIN_CALIBRATED_EPSILON <= epsilon <= 100):
        raise PrivacyError(
            f"privacy.epsilon is {epsilon:g}, allowed is {MIN_CALIBRATED_EPSILON:g} to 100 where noise is "
            "calibrated; change it or give privacy.noise_multiplier"
        )

    def excess(sigma: float) -> float:
        """Log of what the multiplier spends over what we aim at, just inside the budget."""
        row = _row(sigma, sample_rate, steps)
        return math.log(spend([row], delta).epsilon / (epsilon * (1 - TOLERANCE / 2)))

    within = _rdp_multiplier(epsilon, delta, sample_rate, steps)
    excess_within = excess(within)
    while excess_within > TOLERANCE / 2:  # PRV fell back or its error weighs on a small epsilon: more noise
        if within > 1e5:
            raise PrivacyError(
                f"privacy.epsilon is {epsilon:g} at delta {delta:g}: no multiplier up to 1e5 is enough; "
                "raise one of the two"
            )
        within = _rounded_up(within * 1.25)
        excess_within = excess(within)
    # epsilon falls roughly as sigma^-1.5 here; overshoot a little so that the first guess is beyond the aim
    beyond = _rounded_up(within * math.exp(excess_within / 1.5 - 0.02))
    excess_beyond = excess(beyond)
    while excess_beyond < 0:
        within, excess_within = beyond, excess_beyond
        beyond = _rounded_up(beyond * 0.9)
        excess_beyond = excess(beyond)
    for _ in range(20):
        if excess_within >= -TOLERANCE / 2 or math.isclose(within, beyond, rel_tol=1e-4):
            break
        share = excess_within / (excess_within - excess_beyond)
        share = min(max(share, 0.05), 0.95)  # never stuck at one end
        middle = _rounded_up(within * (beyond / within) ** share)
        excess_middle = excess(middle)
        if excess_middle <= TOLERANCE / 2 - 1e-4:
            within, excess_within = middle, excess_middle
        else:
            beyond, excess_beyond = middle, excess_middle
    while spend_pld([_row(within, sample_rate, steps)], delta) > epsilon:
        within = _rounded_up(within * 1.001)
    return within


def _row(sigma: float, sample_rate: float, steps: int) -> PoissonGaussian:
    return PoissonGaussian(noise_multiplier=sigma, sample_rate=sample_rate, steps=steps)


def _split(mechanisms: Sequence[Mechanism], delta: float) -> tuple[History, float, float, bool]:
    """Return the Gaussian history, declared epsilon, the delta left, and whether a row is unprotected."""
    steps: dict[tuple[float, float], int] = {}
    epsilon, rest, unprotected = 0.0, delta, False
    for row in merged(mechanisms):
        match row.mechanism:
            case PoissonGaussian(noise_multiplier=sigma, sample_rate=rate, steps=num_steps):
                steps[sigma, rate] = steps.get((sigma, rate), 0) + num_steps
            case Gaussian(noise_multiplier=sigma):  # every patient takes part: a sample rate of 1
                steps[sigma, 1.0] = steps.get((sigma, 1.0), 0) + row.rows
            case Declared() as declared:
                epsilon += row.rows * declared.epsilon
                rest -= row.rows * declared.delta
            case Unprotected():
                unprotected = True
    history = tuple(sorted((sigma, rate, count) for (sigma, rate), count in steps.items()))
    return history, epsilon, rest, unprotected


@lru_cache(maxsize=1024)
def _compose(history: History, delta: float) -> tuple[float, str]:
    rdp = _rdp(history, delta)
    if rdp > MAX_PRV_EPSILON:
        return rdp, "rdp"
    try:
        prv = _prv(history, delta)
    except (ArithmeticError, IndexError, MemoryError, RuntimeError, ValueError):
        return rdp, "rdp"  # PRV is known to fail at odd settings (opacus issues 601, 604, 637)
    return (prv, "prv") if 0 < prv <= rdp else (rdp, "rdp")


def _prv(history: History, delta: float) -> float:
    from shared.privacy.opacus_bound import prv_bound  # noqa: PLC0415 - takes seconds; not everyone accounts

    return prv_bound(history, delta, EPS_ERROR)


def _rdp(history: History, delta: float) -> float:
    from shared.privacy.opacus_bound import rdp_bound  # noqa: PLC0415 - takes seconds; not everyone accounts

    return rdp_bound(history, delta)


@lru_cache(maxsize=1024)
def _pld(history: History, delta: float) -> float:
    import dp_accounting  # noqa: PLC0415 - takes a second; only statements are checked
    from dp_accounting.pld.pld_privacy_accountant import PLDAccountant  # noqa: PLC0415 - likewise

    accountant = PLDAccountant(value_discretization_interval=PLD_INTERVAL)
    for sigma, rate, steps in history:
        event = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(sigma))
        accountant.compose(dp_accounting.SelfComposedDpEvent(event, steps))
    return float(accountant.get_epsilon(delta))


def _rdp_multiplier(epsilon: float, delta: float, sample_rate: float, steps: int) -> float:
    """Return a noise multiplier that RDP finds sufficient, within 1 %, or the largest one allowed."""
    low, high = 0.05, 1e6
    if _rdp(((high, sample_rate, steps),), delta) > epsilon:
        high = 2.0  # RDP's orders end at 63, so it never reports a small epsilon; PRV decides from here
        low = high
    while high / low > 1.01:
        middle = math.sqrt(low * high)
        if _rdp(((middle, sample_rate, steps),), delta) > epsilon:
            low = middle
        else:
            high = middle
    return _rounded_up(high)


def _rounded_up(value: float) -> float:
    """Round up to five significant digits, so that a person can type the multiplier."""
    scale = 10.0 ** (4 - math.floor(math.log10(value)))
    return math.ceil(value * scale - 1e-9) / scale


def _check_delta(delta: float) -> None:
    if not 0 < delta < 1:
        raise PrivacyError(
            f"delta is {delta}, allowed is between 0 and 1, at most 1 / (10 x patients); lower it"
        )
