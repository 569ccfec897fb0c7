"""Audits: an attacker who knows everything but one patient guesses; a sound engine bounds how often that is right."""

import secrets

import numpy as np
import torch
from torch import Tensor, nn

from client.dp_sgd.private_steps import private_steps
from shared.messages.releases import decode_release
from shared.models.arrays import Arrays
from shared.privacy.accountant import spend, spend_pld
from shared.privacy.mechanisms import PoissonGaussian
from shared.privacy.noise import Coins, NoiseSource
from tests.privacy.audit_bounds import MISTAKE, gaussian_epsilon, mean_mu, one_run_epsilon, threshold_mu
from tests.privacy.check_noise import updated
from tests.privacy.check_sensitivity import moved, pair
from tests.privacy.crafted import opposed_views
from tests.privacy.room import DISAGREES, OpenStudy, Room, ask, weights_of
from tests.privacy.small import InMemory, plan
from tests.privacy.table import Check, Finding

DELTA = 1e-5
SMALL_DELTA = (
    1e-8  # one run pays for delta once a canary: at 1e-5 a thousand of them prove nothing at our confidence
)
REPEATED = 16  # canaries of the repeated audit
SIGMA = 4.0
CHOICES = 20  # how many guesses to make: a Bonferroni factor


def claimed(sigma: float, sample_rate: float, steps: int, delta: float) -> float:
    """Return what the ledger would say: the larger of both accountants."""
    row = PoissonGaussian(noise_multiplier=sigma, sample_rate=sample_rate, steps=steps)
    return max(spend([row], delta).epsilon, spend_pld([row], delta))


def canaries(model: nn.Linear, who: np.ndarray) -> InMemory:
    """Make patients whose gradient, far above the clip, is one coordinate each."""
    width = model.in_features

    def loss(batch):
        return -50 * model(nn.functional.one_hot(batch["i"], width).float())[:, 0]

    people = [{"i": torch.full((1,), int(one))} for one in who]
    return InMemory(people, loss, {"i": torch.zeros(1, dtype=torch.int64)})


def one_run(room: Room) -> Finding:
    """Put each canary in or out by a fair coin, train once, guess the surest from the update (arXiv 2305.08846)."""
    number = 1000 if room.quick else 4000
    inside = np.random.default_rng(secrets.randbits(64)).random(number) < 0.5
    who = np.flatnonzero(inside)
    model = nn.Linear(number, 1, bias=False)
    nn.init.zeros_(model.weight)
    update = private_steps(
        model, ["weight"], plan(noise_multiplier=SIGMA, patients_per_chunk=64), patient_ids=[str(one) for one in who],
        coins=Coins.fresh(), noise=NoiseSource(), source=canaries(model, who),
    )  # fmt: skip
    order = np.argsort(-update["weight"][0].numpy(), kind="stable")
    best, told = 0.0, ""
    for count in np.unique(np.linspace(10, number // 2, CHOICES).astype(int)):
        right = int(inside[order[:count]].sum() + (~inside[order[-count:]]).sum())
        epsilon = one_run_epsilon(number, 2 * count, right, SMALL_DELTA, MISTAKE / CHOICES)
        if epsilon >= best:
            best, told = epsilon, f"{right} of {2 * count} guesses right"
    claim = claimed(SIGMA, 1.0, 1, SMALL_DELTA)
    return Finding(
        f"epsilon {claim:.3f} (PRV and PLD, delta {SMALL_DELTA:g})", f"epsilon at least {best:.3f}; {told}",
        best <= claim,
    )  # fmt: skip


def repeated(room: Room) -> Finding:
    """Repeat one private step with and without canaries, each on a number of its own, and count at a threshold."""
    steps = 600 if room.quick else 4000
    with_them, without = (scores(steps, present=present) for present in (True, False))
    half = len(with_them) // 2
    threshold = (with_them[:half].mean() + without[:half].mean()) / 2
    hits, alarms = int((with_them[half:] > threshold).sum()), int((without[half:] > threshold).sum())
    trials = len(with_them) - half
    mu = threshold_mu(hits, alarms, trials)
    claim = claimed(SIGMA, 1.0, 1, DELTA)
    shown = gaussian_epsilon(mu, DELTA)
    return Finding(
        f"mu {1 / SIGMA:g}: epsilon {claim:.3f}",
        f"mu at least {mu:.3f}: epsilon {shown:.3f}; {hits} hits, {alarms} false alarms in {trials} each",
        mu <= 1 / SIGMA and shown <= claim,
    )


def scores(steps: int, *, present: bool) -> np.ndarray:
    """Return what each of many steps added to each canary's own weight: each is one trial."""
    model = nn.Linear(REPEATED, 1, bias=False)
    nn.init.zeros_(model.weight)
    who = np.arange(REPEATED if present else 0)
    seen = [np.zeros(REPEATED)]
    private_steps(
        model, ["weight"], plan(steps=steps, noise_multiplier=SIGMA),
        patient_ids=[str(one) for one in who], coins=Coins.fresh(), noise=NoiseSource(), source=canaries(model, who),
        progress=lambda _step: seen.append(model.weight.detach()[0].double().numpy().copy()),
    )  # fmt: skip
    return np.diff(np.array(seen), axis=0).flatten()


def end_to_end(room: Room) -> Finding:
    """Send crafted weights to a site's own answer, with and without a patient, and read one number off each update."""
    trials = 8 if room.quick else 40
    study = room.study("supervised")
    which = study.privacy.trainable
    quiet = {"allow_releases": ["enrolment", "update", "error"]}
    with room.scratch() as scratch:
        full, without = pair(room, study, which, DISAGREES, scratch)
        base = weights_of(full.site, study, which)
        scales = np.geomspace(0.5, 4, 6 if room.quick else 24)
        target = [one for one in full.patients if one.patient_id == DISAGREES]
        worst = max(
            scales, key=lambda scale: float(full.clipped_sum(opposed_views(base, scale), target).norm())
        )
        weights = opposed_views(base, float(worst))
        sums = [one.clipped_sum(weights) for one in (full, without)]
        direction = (sums[0] - sums[1]) / (sums[0] - sums[1]).norm()
        told = [
            [
                read(full if one else without, study, weights, direction, scratch / f"{one}-{trial}", quiet)
                for trial in range(trials)
            ]
            for one in (1, 0)
        ]
        site = room.site(scratch / "stated", full.site.config.data.source)
        stated = decode_release(ask(site, study, "train", 1, weights)["ledger_statement"]).fields.epsilon
        distance = moved(full, without, weights)
    mu = mean_mu(np.array(told[0]), np.array(told[1]))
    shown = gaussian_epsilon(mu, study.privacy.delta)
    return Finding(
        f"the ledger's epsilon {stated:.3f}",
        f"epsilon at least {shown:.3f} (mu {mu:.3f}, {trials} answers each); "
        f"the sum moved by {distance:.7g} of the clip",
        shown <= stated,
    )


def read(
    full: OpenStudy,
    study,
    weights: Arrays,
    direction: Tensor,
    state,
    changed: dict,
):
    """Ask a site with a fresh ledger once and project its update."""
    raw = full.site.config.model_copy(update=changed | {"state_dir": state, "head_file": state / "head"})
    state.mkdir()
    (state / "site.key").write_bytes((full.site.config.state_dir / "site.key").read_bytes())
    site = type(full.site)(raw, full.site.span)
    shapes = {name: value.shape for name, value in weights.items()}
    factor = study.privacy.sample_rate * site.config.declared_patients / study.federation.learning_rate
    return -float(updated(ask(site, study, "train", 1, weights), shapes) @ direction) * factor


CHECKS = (
    Check("audit, one run", "no guess about who was there is surer than the accountant's epsilon allows",
          "canaries in or out by fair coins, one private step (arXiv 2305.08846)", one_run),
    Check("audit, repeated", "one patient is told by no more than the noise allows",
          f"{REPEATED} canaries of one coordinate each, many fresh steps, a threshold (arXiv 2302.07956)", repeated),
    Check("audit, end to end", "a site's answers tell no more than its ledger says",
          "crafted weights through `client.rounds.answer.answer`, with and without a patient", end_to_end),
)  # fmt: skip
