"""Is this hospital ready for a study? Every question that enrolment asks, answered locally and one by one.

In: `site.yaml` and the study. Out: findings for the person at the hospital, with counts of the hospital's own data.
They never leave: to the hub, a site that is not ready just does not enrol. Nothing is written by a check.
"""

import secrets
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from client.ledger import Ledger
from client.partition import Partition, assign_partitions
from client.site import Site
from shared.config import StudyConfig, check_delta, check_sampling
from shared.data.images import check_images
from shared.data.records import Patient
from shared.data.source import describe_source, read_source
from shared.errors import RoundsError
from shared.privacy.accountant import calibrate, spend
from shared.privacy.mechanisms import Declared, Gaussian, Mechanism, PoissonGaussian, Unprotected
from shared.targets import forecast_bytes

Mark = Literal["ok", "warn", "fail"]
Parts = dict[Partition, list[Patient]]
NEEDED = ("enrolment", "update", "error")
FAR_ABOVE, FAR_BELOW = 1.25, 0.5  # real over declared patients, where the declared number no longer serves


@dataclass(frozen=True)
class Finding:
    """One answer: `ok`, `warn` (goes on, but look) or `fail` (the site would not enrol or answer)."""

    mark: Mark
    what: str
    sentence: str


def check_site(site: Site, study: StudyConfig) -> Iterator[Finding]:
    """Yield findings as they are made; the last one is what enrolment itself would say of the study."""
    yield from _approval(site, study)
    yield from _weights(site, study)
    yield from _declared(site, study)
    yield from _releases(site, study)
    yield from _data(site, study)
    yield from _ledger(site, study)
    yield _tried("enrolment", lambda: site.check_study(study), "the study's rules are the hospital's rules")


def _tried(what: str, action: Callable[[], object], sentence: str) -> Finding:
    """Return ok with a sentence, or the error's own sentence."""
    try:
        action()
    except (RoundsError, ValueError) as error:
        return Finding("fail", what, str(error))
    return Finding("ok", what, sentence)


def _approval(site: Site, study: StudyConfig) -> Iterator[Finding]:
    digest, approved = study.digest(), site.config.approved_studies
    if approved == "any-in-simulation":
        sentence = (
            'approved_studies is "any-in-simulation": right for made sites only; a hospital lists digests'
        )
        yield Finding("warn", "approval", sentence)
    elif digest in approved:
        yield Finding("ok", "approval", f"study {digest[:12]} is approved")
    else:
        yield Finding(
            "fail", "approval", f"study {digest} is not in approved_studies; read it, then add this digest"
        )
    if study.expires < datetime.now(UTC).date():
        yield Finding("fail", "expiry", f"the study expired on {study.expires}; ask the hub for a new one")
    else:
        yield Finding("ok", "expiry", f"the study expires on {study.expires}")
    if not study.privacy.enabled:
        allowed = site.config.allow_without_privacy
        sentence = "privacy is off in this study: no guarantee holds and updates may reveal patients"
        hint = "" if allowed else "; refused unless allow_without_privacy is true"
        yield Finding("warn" if allowed else "fail", "privacy", sentence + hint)
    elif site.config.allow_without_privacy:
        sentence = "allow_without_privacy is true: digests are not asked for and a study without noise would be answered"
        yield Finding("warn", "privacy", sentence)


def _weights(site: Site, study: StudyConfig) -> Iterator[Finding]:
    models, accepted = study.models, site.config.accepted_digests
    for what, digest, load in (
        ("teacher", models.teacher.sha256, lambda: site.teacher(study)),
        ("initial student", models.initial_sha256, lambda: site.compact(study)),
    ):
        kind = accepted.get(str(digest), "not listed")
        yield _tried(what, load, f"{str(digest)[:12]} is here and accepted as {kind}")
        if kind == "private-dp" and digest not in site.config.private_dp_spend:
            sentence = (
                f"private_dp_spend has no (epsilon, delta) for {str(digest)[:12]}; add what it was made with"
            )
            yield Finding("fail", what, sentence)


def _declared(site: Site, study: StudyConfig) -> Iterator[Finding]:
    declared = site.config.declared_patients
    if not study.privacy.enabled:
        return
    expected = study.privacy.sample_rate * declared
    yield _tried(
        "sample rate", lambda: check_sampling(study, declared), f"a step expects {expected:.1f} patients"
    )
    delta = study.privacy.delta
    yield _tried(
        "delta",
        lambda: check_delta(delta, declared, "privacy.delta"),
        f"{delta:g} fits {declared} declared patients",
    )


def _releases(site: Site, study: StudyConfig) -> Iterator[Finding]:
    allowed = site.config.allow_releases
    lacking = [kind for kind in NEEDED if kind not in allowed]
    if lacking:
        yield Finding(
            "fail", "releases", f"allow_releases lacks {', '.join(lacking)}: the site cannot take part"
        )
    else:
        yield Finding("ok", "releases", f"may leave: {', '.join(allowed)}")
    if "ledger_statement" not in allowed:
        sentence = "allow_releases lacks ledger_statement: the report cannot say what this site spent"
        yield Finding("warn", "releases", sentence)
    if study.federation.evaluate_sites and "evaluation" not in allowed:
        yield Finding("warn", "releases", "the study asks for evaluation counts; this site will refuse them")
    if study.federation.reply_after_seconds is None:
        sentence = "the study sets no reply_after_seconds: arrival times tell roughly how large this site is"
        yield Finding("warn", "timing", sentence)


def _data(site: Site, study: StudyConfig) -> Iterator[Finding]:
    data = site.config.data
    try:
        patients = read_source(data.source, study.task, site=data.site, label_map=data.label_map)
        parts = _partitions(site, patients)
    except RoundsError as error:
        yield Finding("fail", "data", str(error))
        return
    num_images = sum(len(patient.images) for patient in patients)
    kinds = ", ".join(f"{len(part)} {name}" for name, part in parts.items())
    yield Finding("ok", "data", f"{len(patients)} patients ({kinds}), {num_images} images")
    yield from (Finding("warn", "data", note) for note in describe_source(data.source, study.task))
    yield from _classes(patients, study)
    yield from _images(site, patients, study)
    yield from _number(site, len(parts["train"]))
    yield from _cache(site, study, len(parts["train"]))


def _partitions(site: Site, patients: list[Patient]) -> Parts:
    """Return what the site's table would say, on a copy: only enrolment fixes a patient's partition."""
    table = site.config.state_dir / "partitions.sqlite"
    key = site.key() if (site.config.state_dir / "site.key").is_file() else secrets.token_bytes(32)
    with tempfile.TemporaryDirectory(prefix="rounds-check-") as scratch:
        copy = Path(scratch) / table.name
        if table.is_file():
            shutil.copyfile(table, copy)
        return assign_partitions(patients, copy, key)


def _classes(patients: list[Patient], study: StudyConfig) -> Iterator[Finding]:
    images = Counter(image.label for patient in patients for image in patient.images)
    people = Counter(label for patient in patients for label in {image.label for image in patient.images})
    for label, name in enumerate(study.task.classes):
        sentence = f"{people[label]} patients, {images[label]} images"
        if people[label]:
            yield Finding("ok", f"class {name}", sentence)
        else:
            yield Finding(
                "warn", f"class {name}", f"{sentence}; right if this hospital has none, else see label_map"
            )


def _images(site: Site, patients: list[Patient], study: StudyConfig) -> Iterator[Finding]:
    problems = check_images(patients, study.task)
    share, most = problems.num_unreadable / max(1, problems.num_images), site.config.data.max_unreadable
    kinds = ", ".join(f"{kind} {count}" for kind, count in problems.kinds.items())
    if share > most:
        sentence = (
            f"{kinds}: {share:.1%} of images cannot be read, data.max_unreadable is {most:.1%}; repair them"
        )
        yield Finding("fail", "images", sentence)
    elif kinds:
        sentence = f"{kinds}: a patient with an unreadable image contributes nothing; repair or remove them"
        yield Finding("warn", "images", sentence)
    else:
        yield Finding("ok", "images", "every image and mask can be read")


def _number(site: Site, num_train: int) -> Iterator[Finding]:
    declared = site.config.declared_patients
    share = num_train / declared
    if num_train == 0:
        yield Finding("fail", "declared", "no training patient; check data.site and the splits")
    elif share > FAR_ABOVE:
        sentence = f"{declared} declared, {num_train} train: updates may exceed the bound; declare a larger round number"
        yield Finding("warn", "declared", sentence)
    elif share < FAR_BELOW:
        sentence = (
            f"{declared} declared, {num_train} train: the site counts for more than it has; declare less"
        )
        yield Finding("warn", "declared", sentence)
    else:
        yield Finding(
            "ok", "declared", f"{declared} declared, {num_train} train (the declared number is public)"
        )


def _cache(site: Site, study: StudyConfig, num_train: int) -> Iterator[Finding]:
    try:
        needed = forecast_bytes(site.teacher(study), study, num_train)
    except RoundsError:
        return  # said under 'teacher'
    folder = next(path for path in (site.config.state_dir, *site.config.state_dir.parents) if path.is_dir())
    free = shutil.disk_usage(folder).free
    sentence = f"teacher targets will take {needed / 1e6:.1f} MB, {free / 1e6:.0f} MB are free at state_dir"
    yield Finding("ok" if needed < free else "fail", "target cache", sentence)


def _ledger(site: Site, study: StudyConfig) -> Iterator[Finding]:
    path, head = site.config.state_dir / "ledger.sqlite", site.config.head_file
    rows: list[Mechanism] = []
    evaluated: list[Mechanism] = []
    if not path.is_file() and not head.is_file():
        yield Finding("ok", "ledger", "none yet: it begins when the site first enrols")
    else:
        try:
            with Ledger.open(path, head) as ledger:
                number = ledger.verify()
                rows, evaluated = ledger.mechanisms("train"), ledger.mechanisms("evaluation")
        except RoundsError as error:
            yield Finding("fail", "ledger", str(error))
            return
        yield Finding("ok", "ledger", f"{number} rows, whole, and equal to its head file")
        if path.stat().st_dev == head.stat().st_dev:
            sentence = "head_file is on the ledger's volume: a restored volume would hide lost rows; move it"
            yield Finding("warn", "ledger", sentence)
    yield from _budget(site, study, rows, evaluated)


def _budget(
    site: Site, study: StudyConfig, train: list[Mechanism], evaluated: list[Mechanism]
) -> Iterator[Finding]:
    """Say what the whole study would bring each partition to; rows of a study already begun count as well."""
    rules, cap = study.federation, site.config.cap
    weights = [
        Declared(epsilon=spent[0], delta=spent[1])
        for digest, spent in site.config.private_dp_spend.items()
        if digest in {study.models.teacher.sha256, study.models.initial_sha256}
    ]
    missing = [one for one in weights if one not in train]
    before = [*train, *missing]
    yield _affordable(site, "budget", before, [_one_round(study)] * rules.rounds)
    if rules.evaluate_sites:
        noise = Gaussian(noise_multiplier=rules.evaluation_noise_multiplier)
        yield _affordable(site, "evaluation budget", [*evaluated, *missing], [noise])
    if cap.delta < study.privacy.delta:
        sentence = f"cap.delta {cap.delta:g} is stricter than the study's {study.privacy.delta:g}: epsilon is higher here"
        yield Finding("warn", "budget", sentence)


def _one_round(study: StudyConfig) -> Mechanism:
    privacy, rules = study.privacy, study.federation
    if not privacy.enabled:
        return Unprotected()
    noise = privacy.noise_multiplier or calibrate(
        privacy.epsilon, privacy.delta, privacy.sample_rate, rules.rounds * rules.steps
    )
    return PoissonGaussian(noise_multiplier=noise, sample_rate=privacy.sample_rate, steps=rules.steps)


def _affordable(site: Site, what: str, before: list[Mechanism], asked: list[Mechanism]) -> Finding:
    cap = site.config.cap
    spent, after = spend(before, cap.delta).epsilon, spend([*before, *asked], cap.delta).epsilon
    if after <= cap.epsilon:
        sentence = f"epsilon {spent:.2f} spent, {after:.2f} after this study, the cap is {cap.epsilon:g}"
        return Finding("ok", what, f"{sentence} (at delta {cap.delta:g})")
    if after == float("inf") and site.config.allow_without_privacy:
        return Finding("warn", what, "after this study no epsilon can be claimed for these patients")
    fit = 0
    while fit < len(asked) and spend([*before, *asked[: fit + 1]], cap.delta).epsilon <= cap.epsilon:
        fit += 1
    sentence = (
        f"epsilon {spent:.2f} spent, the whole study would bring it to {after:.2f}, the cap is {cap.epsilon:g}: "
        f"{fit} of {len(asked)} requests would be answered; the hospital alone may raise the cap"
    )
    return Finding("warn" if fit else "fail", what, sentence)
