"""When do answers leave, does the study leave the time, do the hospital's own films fit the forecast? Said here alone.

In: `site.yaml`, the study, and a few of the hospital's films, whose reading is timed for the person at the hospital
alone. Out: findings; nothing leaves.
"""

import time
from collections.abc import Iterator, Sequence

from client.readiness.finding import Finding
from client.rounds.answer_time import SPARE, AnswerTimes, forecast, reply_period, site_forecast
from client.rounds.speed import Speed, kept_speed
from client.site.site import Site
from shared.config.study import StudyConfig
from shared.data.patients import Patient
from shared.distillation.targets import read_views
from shared.errors import Refusal, RoundsError

LOOKED_AT = 8  # patients whose reading is timed
_TELLS = "arrival times tell roughly how large this site is, and whether anybody is new"


def answer_time_findings(site: Site, study: StudyConfig) -> Iterator[Finding]:
    """Yield when answers leave; what the forecast needs is measured where it has not been yet."""
    own = site.config.reply_after_seconds
    if own == "off" or (own == "auto" and site.is_made):
        yield _without_own(study, simulated=own == "auto")
        return
    try:
        speed = kept_speed(site, study)
        times = site_forecast(site, study)
    except (RoundsError, ValueError):
        return  # said under 'teacher' and 'initial student'
    try:
        train, enrol = (reply_period(site, study, kind) or 0.0 for kind in ("train", "enrol"))
    except Refusal as error:
        yield Finding("fail", "answer time", str(error))
        return
    sentence = f"answers leave {train:g} s after a request, enrolment {enrol:g} s, or at a multiple: "
    needs = f"the forecast is {times.train:g} and {times.enrol:g} s"
    if own == "auto":
        yield Finding("ok", "answer time", f"{sentence}{needs}, from public numbers and made-up patients")
    elif own < max(times.train, times.enrol):
        yield Finding("warn", "answer time", f"{sentence}{needs}, and beyond the first multiple {_TELLS}")
    else:
        yield Finding("ok", "answer time", f"{sentence}{needs}")
    yield from _films(site, study, speed, times)


def _without_own(study: StudyConfig, *, simulated: bool) -> Finding:
    asked = study.federation.reply_after_seconds
    why = "a simulation's site has no time of its own" if simulated else "reply_after_seconds is off"
    if asked is not None:
        return Finding(
            "ok", "answer time", f"{why}: answers leave after the study's {asked:g} s, if ready by then"
        )
    remedy = "" if simulated else "; set it to auto unless that may be known"
    return Finding("warn", "answer time", f"{why}, and the study sets none: {_TELLS}{remedy}")


def _films(site: Site, study: StudyConfig, speed: Speed, times: AnswerTimes) -> Iterator[Finding]:
    """Warn where the hospital's own films are read so much slower than made-up ones that the spare time is gone."""
    try:
        patients = site.patients(study)
    except (RoundsError, OSError):
        return  # said under data
    seconds = slowest_reading(patients[:: max(1, len(patients) // LOOKED_AT)][:LOOKED_AT], study)
    if seconds <= SPARE * speed.views_seconds:
        return
    slower = speed.model_copy(
        update={"views_seconds": seconds, "film_seconds": speed.film_seconds * seconds / speed.views_seconds}
    )
    needed = forecast(study, site.config.declared_patients, slower, site.config.compute.patients_per_chunk)
    if max(needed.train, needed.enrol) <= max(times.train, times.enrol):
        return
    yield Finding(
        "warn",
        "answer time",
        f"a patient's films take up to {seconds:.2g} s to read here, made-up ones {speed.views_seconds:.2g} s: answers "
        f"may miss their time; type reply_after_seconds: {max(needed.train, needed.enrol):g} in site.yaml, or keep "
        "smaller films",
    )


def slowest_reading(patients: Sequence[Patient], study: StudyConfig) -> float:
    """Return the seconds that the slowest of these patients takes to read; one that cannot be read takes none."""
    slowest = 0.0
    for patient in patients:
        started = time.perf_counter()
        try:
            read_views(patient, study)
        except RoundsError:
            continue
        slowest = max(slowest, time.perf_counter() - started)
    return slowest
