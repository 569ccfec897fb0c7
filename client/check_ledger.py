"""Is the ledger whole, and does the budget pay for a study? Answered without spending or writing.

In: `site.yaml`, the ledger and the study's public parameters. Out: findings for the hospital; nothing leaves.
"""

from bisect import bisect_right
from collections.abc import Iterator

from client.findings import Finding
from client.ledger import Ledger
from client.site_rules import SiteRules
from shared.config import StudyConfig
from shared.errors import RoundsError
from shared.privacy.accountant import calibrate, spend_against, stated_spend
from shared.privacy.mechanisms import Declared, Gaussian, Mechanism, PoissonGaussian, Unprotected


def ledger_findings(site: SiteRules, study: StudyConfig) -> Iterator[Finding]:
    """Yield what is to be said of ledger, head file and budget; a ledger that is not there is not begun."""
    path, head = site.config.state_dir / "ledger.sqlite", site.config.head_file
    rows: list[Mechanism] = []
    evaluated: list[Mechanism] = []
    if not path.is_file() and not head.is_file():
        yield Finding("ok", "ledger", "none yet: it begins when the site first enrols")
    else:
        try:
            with Ledger.open(path, head) as ledger:
                number = ledger.verify()
                looked = ledger.enrolments(study.digest())
                rows, evaluated = ledger.mechanisms("train"), ledger.mechanisms("evaluation")
        except RoundsError as error:
            yield Finding("fail", "ledger", str(error))
            return
        yield Finding("ok", "ledger", f"{number} rows, whole, and equal to its head file")
        yield enrolment_finding(site, looked)
        if path.stat().st_dev == head.stat().st_dev:
            sentence = "head_file is on the ledger's volume: a restored volume would hide lost rows; move it"
            yield Finding("warn", "ledger", sentence)
    yield from _budget(site, study, rows, evaluated)


def enrolment_finding(site: SiteRules, looked: int) -> Finding:
    """Say how often enrolment for the study has looked at the patients, and how often it still may."""
    most = site.config.max_enrolments
    sentence = f"this study has looked at the patients {looked} times, max_enrolments is {most}"
    if looked < most:
        return Finding("ok" if most - looked > 1 else "warn", "enrolments", sentence)
    remedy = (
        "; it is refused from now on: ask the hub why, then raise max_enrolments in site.yaml if you agree"
    )
    return Finding("fail", "enrolments", sentence + remedy)


def _budget(
    site: SiteRules, study: StudyConfig, train: list[Mechanism], evaluated: list[Mechanism]
) -> Iterator[Finding]:
    """Say what the whole study would bring each partition to; rows of a study already begun count as well."""
    rules, cap = study.federation, site.config.cap
    missing = _not_yet_charged(site, study, train)
    before = [*train, *missing]
    yield _affordable(site, "budget", before, [one_round(study)] * rules.rounds)
    if rules.evaluate_sites:
        noise = Gaussian(noise_multiplier=rules.evaluation_noise_multiplier)
        yield _affordable(site, "evaluation budget", [*evaluated, *missing], [noise])
    if cap.delta < study.privacy.delta:
        sentence = (
            f"cap.delta {cap.delta:g} is below the study's {study.privacy.delta:g}: epsilon counts higher here; set "
            "cap.delta to the study's to compare the two"
        )
        yield Finding("warn", "budget", sentence)


def _not_yet_charged(site: SiteRules, study: StudyConfig, train: list[Mechanism]) -> list[Mechanism]:
    """Return the spends of this study's weights, private-dp or unlisted, that the ledger does not hold yet."""
    held = [one for one in train if isinstance(one, Declared)]
    missing: list[Mechanism] = []
    for one in site.weights_spends(study).values():
        if one in held:
            held.remove(one)
        else:
            missing.append(one)
    return missing


def one_round(study: StudyConfig) -> Mechanism:
    """Return what one round of training asks for; noise that the hub has not fixed yet is calibrated here."""
    privacy, rules = study.privacy, study.federation
    if not privacy.enabled:
        return Unprotected()
    noise = privacy.noise_multiplier or calibrate(
        privacy.epsilon, privacy.delta, privacy.sample_rate, rules.rounds * rules.steps
    )
    return PoissonGaussian(noise_multiplier=noise, sample_rate=privacy.sample_rate, steps=rules.steps)


def _affordable(site: SiteRules, what: str, before: list[Mechanism], asked: list[Mechanism]) -> Finding:
    cap = site.config.cap
    spent = stated_spend(before, cap.delta).epsilon
    after = spend_against([*before, *asked], cap.epsilon, cap.delta).epsilon
    if after <= cap.epsilon:
        sentence = f"epsilon {spent:.2f} spent, {after:.2f} after this study, the cap is {cap.epsilon:g}"
        return Finding("ok", what, f"{sentence} (at delta {cap.delta:g})")
    if after == float("inf") and site.config.allow_without_privacy:
        return Finding(
            "warn",
            what,
            "after this study no epsilon can be claimed for these patients; ask for a study with privacy, or for "
            "weights that you can list under accepted_digests",
        )
    numbers = range(1, len(asked) + 1)
    fit = bisect_right(
        numbers,
        cap.epsilon,
        key=lambda number: spend_against([*before, *asked[:number]], cap.epsilon, cap.delta).epsilon,
    )
    sentence = (
        f"epsilon {spent:.2f} spent, the whole study would bring it to {after:.2f}, the cap is {cap.epsilon:g}: "
        f"{fit} of {len(asked)} requests would be answered; the hospital alone may raise the cap"
    )
    return Finding("warn" if fit else "fail", what, sentence)
