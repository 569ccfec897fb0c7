"""Can this hospital pay for a whole study? Asked before it enrols: half a study spends, and gives nothing.

In: the rules of site.yaml, the ledger and the study's public numbers. Out: what is still to be paid, or a refusal.
Nothing here reads a patient.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from client.ledger.ledger import Ledger
from client.ledger.spend import check_cap
from client.ledger.spend_cache import ComputedFigures, Figures
from client.site.site_rules import SiteRules
from shared.config.kinds import Partition
from shared.config.study import StudyConfig
from shared.messages.stages import STAGES, ProtocolStage
from shared.privacy.mechanisms import Declared, Mechanism


@dataclass(frozen=True)
class Bill:
    """What one partition's patients have spent, weights of the study included, and what the study still asks."""

    partition: Partition
    before: tuple[Mechanism, ...]
    asked: tuple[Mechanism, ...]

    @property
    def after(self) -> list[Mechanism]:
        """All of it."""
        return [*self.before, *self.asked]


def bills(
    site: SiteRules,
    study: StudyConfig,
    ledger: Ledger | None,
    study_uid: str | None = None,
    figures: Figures | None = None,
) -> Iterator[Bill]:
    """Yield the bill of training, and of evaluation where the study asks for it and the site lets it out.

    Under a uid, rounds up to the last that this site was asked in are over; without one the study is a new one.
    """

    def left(stage: ProtocolStage) -> int | None:
        if stage.optional and stage.release not in site.config.allow_releases:
            return None
        return stage.left(study, ledger.last_round(study_uid, stage.kind) if ledger and study_uid else None)

    missing = _not_yet_charged(site, study, ledger)
    for partition, asked in _spends(study, figures, left).items():
        spent = [] if ledger is None else ledger.mechanisms(partition)
        yield Bill(partition, (*spent, *missing), tuple(asked))


def require_whole_study(site: SiteRules, study: StudyConfig, ledger: Ledger, study_uid: str) -> None:
    """Refuse (`BUDGET_SPENT`) to enrol for a study whose last request the cap would not pay for."""
    for bill in bills(site, study, ledger, study_uid):
        allowed = site.config.allow_without_privacy
        check_cap(
            bill.after, site.config.cap, bill.partition, allow_without_privacy=allowed, what="this study"
        )


def whole_study(study: StudyConfig, figures: Figures | None = None) -> dict[Partition, list[Mechanism]]:
    """Return what all answers of a new study spend, by partition."""
    return _spends(study, figures, lambda stage: stage.times(study))


def _spends(
    study: StudyConfig, figures: Figures | None, times: Callable[[ProtocolStage], int | None]
) -> dict[Partition, list[Mechanism]]:
    """Return, by partition, what so many answers of each stage spend; what is not asked, or has None, has no entry."""
    fixed = with_noise(study, figures)
    found: dict[Partition, list[Mechanism]] = {}
    for stage in STAGES.values():
        if stage.charge is None or not stage.asked(study):
            continue
        if (count := times(stage)) is not None:
            mechanisms = [stage.charge.mechanism(fixed)] * count
            found.setdefault(stage.charge.partition, []).extend(mechanisms)
    return found


def with_noise(study: StudyConfig, figures: Figures | None = None) -> StudyConfig:
    """Return the study with the noise that the hub has not fixed yet, calibrated here."""
    privacy, rules = study.privacy, study.federation
    if not privacy.enabled or privacy.noise_multiplier is not None:
        return study
    noise = (figures or ComputedFigures()).calibrate(
        privacy.epsilon, privacy.delta, privacy.sample_rate, rules.rounds * rules.steps
    )
    return study.model_copy(update={"privacy": privacy.model_copy(update={"noise_multiplier": noise})})


def _not_yet_charged(site: SiteRules, study: StudyConfig, ledger: Ledger | None) -> list[Mechanism]:
    """Return the spends of this study's weights, private-dp or unlisted, that the ledger does not hold yet."""
    held = [] if ledger is None else [one for one in ledger.mechanisms("train") if isinstance(one, Declared)]
    missing: list[Mechanism] = []
    for one in site.weights_spends(study).values():
        if one in held:
            held.remove(one)
        else:
            missing.append(one)
    return missing
