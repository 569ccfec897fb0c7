"""Whether a study can succeed at all: asked before any hospital is, so that one that cannot spends nothing.

In: a study, its public test patients, and in a simulation the made hospitals. Out: the study with its noise calibrated,
or one sentence. All of it is public or typed by a person.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from shared.config.files import overridden, parse_study
from shared.config.site import Cap, check_declared
from shared.config.study import Privacy, StudyConfig, Task
from shared.config.study_rules import sites_needed
from shared.data.patients import Patient
from shared.data.sources import read_source
from shared.errors import ConfigError, DataError
from shared.privacy.accountant import calibrate, spend_against
from shared.privacy.mechanisms import PoissonGaussian


@dataclass(frozen=True)
class MadeSite:
    """What of a made hospital decides whether it takes part to the end."""

    name: str
    declared_patients: int
    cap: Cap
    without_privacy: bool = False


def calibrated(study: StudyConfig) -> StudyConfig:
    """Return the study with its noise calibrated where it leaves it open; refuse one that would spend more.

    `ConfigError`, or `PrivacyError` where no noise is enough.
    """
    privacy = study.privacy
    steps = study.federation.rounds * study.federation.steps
    if not privacy.enabled:
        return study
    if privacy.noise_multiplier is not None:
        _check_stated(privacy, privacy.noise_multiplier, steps)
        return study
    sigma = calibrate(privacy.epsilon, privacy.delta, privacy.sample_rate, steps)
    raw = overridden(study.model_dump(mode="json"), {"privacy.noise_multiplier": sigma})
    return parse_study(raw, "the study, its noise calibrated")


def _check_stated(privacy: Privacy, sigma: float, steps: int) -> None:
    """Refuse a given noise multiplier under which a site would spend more than the study states."""
    rounds = PoissonGaussian(noise_multiplier=sigma, sample_rate=privacy.sample_rate, steps=steps)
    spent = spend_against([rounds], privacy.epsilon, privacy.delta).epsilon
    if spent > privacy.epsilon:
        raise ConfigError(
            f"privacy.noise_multiplier is {sigma:g}: {steps} steps would spend epsilon {spent:.3g}, allowed is at most "
            f"privacy.epsilon ({privacy.epsilon:g}); leave it out, so that it is calibrated, or raise privacy.epsilon"
        )


def check_made_sites(study: StudyConfig, sites: Sequence[MadeSite]) -> None:
    """Refuse what a simulation's hospitals would refuse one by one, and too few of them for a round to close.

    A study without calibrated noise is not held against caps.
    """
    for site in sites:
        check_declared(study, site.declared_patients, site.name)
        if not study.privacy.enabled and not site.without_privacy:
            raise ConfigError(
                f"privacy.enabled is False: site {site.name} lets nothing out without privacy; set "
                "allow_without_privacy in its site file, or enable privacy"
            )
    if study.expires < date.today():  # noqa: DTZ011 - as the hospitals read it, by their own calendar
        raise ConfigError(
            f"expires is {study.expires}, a day gone by: hospitals would refuse the study; set a later one"
        )
    field, needed = sites_needed(study.federation)
    if len(sites) < needed:
        raise ConfigError(
            f"{field} is {needed}, allowed is at most the number of sites here ({len(sites)}): no round could close; "
            "lower it or add sites"
        )
    _check_caps(study, sites)


def _check_caps(study: StudyConfig, sites: Iterable[MadeSite]) -> None:
    """Refuse a study that would meet a hospital's cap before its last round, though its ledger be empty."""
    privacy, rules = study.privacy, study.federation
    if not privacy.enabled or privacy.noise_multiplier is None:
        return
    rounds = PoissonGaussian(
        noise_multiplier=privacy.noise_multiplier,
        sample_rate=privacy.sample_rate,
        steps=rules.rounds * rules.steps,
    )
    for site in sites:
        spent = spend_against([rounds], site.cap.epsilon, site.cap.delta).epsilon
        if spent > site.cap.epsilon:
            raise ConfigError(
                f"privacy.epsilon is {privacy.epsilon:g}: all rounds would spend epsilon {spent:.3g} at the delta of "
                f"site {site.name}'s cap, allowed there is {site.cap.epsilon:g}; lower privacy.epsilon, take fewer "
                "rounds, or raise the cap"
            )


def check_test_set(workspace: Path, task: Task) -> None:
    """Refuse a workspace whose public test patients no student can be judged by, as `check_test_patients` does."""
    check_test_patients(read_source(workspace / "public" / "test.csv", task), task)


def check_test_patients(patients: Sequence[Patient], task: Task) -> None:
    """Refuse public test patients by whom no student can be judged: none, or all with or all without the finding."""
    positive = task.classes.index(task.positive)
    found = {image.label == positive for patient in patients for image in patient.images}
    if len(found) < 2:
        has = (
            "none" if not found else f"only patients {'with' if True in found else 'without'} {task.positive}"
        )
        raise DataError(
            f"the public test set: of test patients it has {has}, so there is no AUC and no student could be accepted; "
            f"needed are some with and some without {task.positive} (split: test in the data)"
        )
