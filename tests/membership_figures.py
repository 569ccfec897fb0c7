"""What a measurement of membership comes to on drawn signals: a private student, one without privacy, and baselines."""

import numpy as np

from server.metrics.membership import Signals, attacked
from server.metrics.membership_result import AttackedModel, Membership, ModelName

LEAKS: dict[ModelName, tuple[float, float | None]] = {  # in deviations of a reference; epsilon by ledger
    "released": (0.0, 7.96),
    "other_patients": (0.0, 0.0),
    "without_privacy": (1.0, None),
    "other_patients_without_privacy": (0.0, 0.0),
    "warm_start": (0.0, 0.0),
    "memorised": (4.0, None),
}


def drawn_membership(student: str, num_non_members: int = 600) -> Membership:
    """Attack drawn signals of 600 members; the same numbers for the same arguments."""
    random = np.random.default_rng(41)

    def signals(num: int, leak: float) -> Signals:
        difficulty = random.normal(0, 2, num)
        noise = random.normal(0, 0.5, (5, num))
        return Signals(difficulty + noise[0] + 0.5 * leak, difficulty + noise[1:])

    models = tuple(
        AttackedModel(
            model=name,
            epsilon=epsilon,
            num_references=4,
            attacks=attacked(
                signals(600, leak), signals(num_non_members, 0.0), delta=1e-5, num_resamples=100
            ),
        )
        for name, (leak, epsilon) in LEAKS.items()
    )
    return Membership(student=student, data="procedural chest X-rays (phantoms)", views=2, models=models)
