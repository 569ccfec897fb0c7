"""How long an honest update can be: the hub's bound on what it accepts.

In: a site's public step plan and declared size, the number of trained parameters. Out: an L2 bound above the
expected noise. Nothing here depends on a patient or on an update that was seen.
"""

import math

from shared.privacy.step_plan import StepPlan

FAILURE = 1e-9  # chance that an honest update of a site no larger than declared is longer
ROUNDING = 1e-4  # float32 weights: the update is a difference of them


def update_norm_bound(plan: StepPlan, num_parameters: int, declared_patients: int) -> float:
    """Return a bound on the L2 norm of the update after `plan.steps` steps; inf without a clip.

    With c_s = lr (1 - m^(T-s)) / (1 - m), clip C, noise multiplier z, normaliser b and d parameters:

        signal = sum_s c_s * C * B / b                 B patients in a batch at most
        noise  = (z C / b) * sqrt(sum_s c_s^2) * (sqrt(d) + sqrt(2 x))

    The noise is Gaussian, and its squared norm chi-square with d degrees of freedom: the tail is below e^-x
    (Laurent and Massart 2000, lemma 1). B is Bernstein's bound on the binomial, n q + sqrt(2 n q (1-q) y) +
    y / 3, at most n. x and y share the failure chance 1e-9 between noise and all steps' batches.
    """
    influences = [plan.influence(step) for step in range(plan.steps)]
    signal = sum(influences) * plan.max_grad_norm * _largest_batch(plan, declared_patients) / plan.normaliser
    if plan.noise_multiplier == 0:
        return signal * (1 + ROUNDING)
    tail = math.log(2 / FAILURE)
    length = math.sqrt(num_parameters) + math.sqrt(2 * tail)
    spread = plan.noise_multiplier * plan.max_grad_norm / plan.normaliser * math.hypot(*influences)
    return (signal + spread * length) * (1 + ROUNDING)


def _largest_batch(plan: StepPlan, declared_patients: int) -> float:
    mean = declared_patients * plan.sample_rate
    tail = math.log(2 * plan.steps / FAILURE)
    beyond = math.sqrt(2 * mean * (1 - plan.sample_rate) * tail) + tail / 3
    return min(float(declared_patients), mean + beyond)
