"""When a site's answers leave: at a fixed time after the request, forecast from public numbers, whatever they hold.

In: the study, the declared number of patients and speeds measured on made-up ones (`client.rounds.speed`). Out:
seconds. Work that was not done in time leaves at the next whole multiple, never just when it is ready. How long an
answer took would else tell roughly how large a site is, and, where a teacher must be loaded, whether anybody is new.
"""

import math
import time

from client.rounds.speed import FILMS, Speed, kept_speed
from client.site.site import Site
from shared.config.kinds import RequestKind
from shared.config.study import StudyConfig
from shared.config.values import Frozen
from shared.errors import ErrorCode, Refusal
from shared.messages.stages import STAGES

SPARE = (
    2.0  # forecast over what made-up patients take: a busy machine, larger films, more patients than declared
)
LIBRARIES_SECONDS = 10.0  # of loading the accountants in each process: 3 to 8 s measured
OTHER_PARTITIONS = 1.5  # patients of all partitions over the declared ones, which are those that train
NEW_SHARE = 0.05  # of the declared patients may be new to the target cache in a round, and one
LISTED_SECONDS = 0.003  # of finding one film and reading its header
OF_DEADLINE = 0.9  # an answer needs the rest of the deadline for its way


class AnswerTimes(Frozen):
    """Seconds from a request to its answer, by kind of request; whatever looks once at everybody takes `evaluate`."""

    enrol: float
    train: float
    evaluate: float

    def of(self, kind: RequestKind) -> float:
        """Return the time of one kind."""
        return {"enrol": self.enrol, "train": self.train}.get(kind, self.evaluate)


def forecast(study: StudyConfig, declared: int, speed: Speed, chunk: int) -> AnswerTimes:
    """Return the times that a site of the declared size needs, with room to spare, in whole seconds.

    Of sampled patients four standard deviations above the mean are reckoned with, over all steps of a round.
    """
    steps = study.federation.steps
    mean = steps * study.privacy.sample_rate * declared
    sampled = min(float(steps * declared), mean + 4 * math.sqrt(mean) + 4)
    listed = OTHER_PARTITIONS * declared * FILMS * LISTED_SECONDS
    train = sampled * speed.views_seconds + steps * speed.step_seconds
    train += (sampled / chunk + steps) * speed.chunk_seconds
    train += math.ceil(1 + NEW_SHARE * declared) * speed.targets_seconds
    enrol = declared * (
        OTHER_PARTITIONS * FILMS * speed.film_seconds + speed.views_seconds + speed.targets_seconds
    )
    evaluate = declared * (FILMS * speed.film_seconds + speed.forward_seconds)
    fixed = speed.load_seconds + speed.account_seconds + listed
    return AnswerTimes(
        enrol=math.ceil(LIBRARIES_SECONDS + SPARE * (fixed + enrol + speed.chunk_seconds)),
        train=math.ceil(LIBRARIES_SECONDS + SPARE * (fixed + train)),
        evaluate=math.ceil(LIBRARIES_SECONDS + SPARE * (fixed + evaluate)),
    )


def site_forecast(site: Site, study: StudyConfig) -> AnswerTimes:
    """Return the forecast for a site, whose speeds are measured once and kept."""
    compute = site.config.compute
    return forecast(study, site.config.declared_patients, kept_speed(site, study), compute.patients_per_chunk)


def reply_period(site: Site, study: StudyConfig, kind: RequestKind) -> float | None:
    """Return the seconds after which an answer of this kind leaves, or at a multiple of them; None: when it is ready.

    The later of the study's own time and the site's: the forecast, or the number in site.yaml. Made sites of a
    simulation have none of their own unless their file says a number. `Refusal(DEADLINE_TOO_SHORT)` where the study's
    time is below the forecast or its deadline leaves no room, so that the site does not begin what it could not end.
    """
    asked, own = study.federation.reply_after_seconds, site.config.reply_after_seconds
    if own == "off" or (own == "auto" and site.is_made):
        return asked
    if own == "auto":
        times = site_forecast(site, study)
        if asked is not None and asked < times.train:
            raise _too_short(f"federation.reply_after_seconds is {asked:g}", times.train)
    else:
        times = AnswerTimes(enrol=own, train=own, evaluate=own)
    later = {one: max(times.of(one), asked or 0.0) for one, stage in STAGES.items() if stage.asked(study)}
    looks = [seconds for one, seconds in later.items() if one not in {"enrol", "train"}]
    check_deadlines(
        study, AnswerTimes(enrol=later["enrol"], train=later["train"], evaluate=max(looks, default=0.0))
    )
    return later[kind] if kind in later else max(times.of(kind), asked or 0.0)


def check_deadlines(study: StudyConfig, times: AnswerTimes) -> None:
    """Refuse a study under whose deadlines answers at these times would come too late."""
    rules = study.federation
    for field, deadline, needed in (
        ("enrolment_seconds", rules.enrolment_seconds, times.enrol),
        ("deadline_seconds", rules.deadline_seconds, max(times.train, times.evaluate)),
    ):
        if needed > OF_DEADLINE * deadline:
            raise _too_short(f"federation.{field} is {deadline:g}", math.ceil(needed / OF_DEADLINE))


def wait_for_turn(started: float, period: float | None) -> None:
    """Wait until a whole number of periods, one at least, has passed since `started` (`time.monotonic`)."""
    if period is not None:
        turns = max(1, math.ceil((time.monotonic() - started) / period))
        time.sleep(max(0.0, started + turns * period - time.monotonic()))


def _too_short(what: str, needed: float) -> Refusal:
    return Refusal(
        ErrorCode.DEADLINE_TOO_SHORT,
        f"{what}, allowed is at least {needed:g} for this site's fixed time of answering; ask the hub for a longer "
        "one, or type reply_after_seconds in site.yaml if fewer seconds serve here",
    )
