"""Is this hospital ready for a study? Every question that enrolment asks, answered locally and one by one.

In: `site.yaml` and the study. Out: findings for the person at the hospital. They never leave: to the hub, a site that
is not ready just does not enrol. A check writes nothing; it purges targets that no study may use any more.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from client.readiness.answer_time_check import answer_time_findings
from client.readiness.approvals_check import approval_findings
from client.readiness.budget_check import ledger_findings
from client.readiness.data_check import data_findings
from client.readiness.finding import Finding, tried
from client.readiness.keys_check import key_findings
from client.readiness.learning_check import learning_findings
from client.readiness.machine_check import machine_findings
from client.site.site import Site
from shared.config.site import check_delta, check_sampling
from shared.config.study import StudyConfig
from shared.errors import ApprovalsError
from shared.messages.stages import STAGES

NEEDED = ("enrolment", "update", "error")


def check_site(site: Site, study: StudyConfig) -> Iterator[Finding]:
    """Yield findings as they are made; the last one is what enrolment itself would say of the study."""
    try:
        yield from approval_findings(site, study)
    except ApprovalsError as error:
        yield Finding("fail", "approvals", str(error))
        return  # until they are whole the site answers nothing
    yield from _asked(site, study)
    yield from _weights(site, study)
    yield from _declared(site, study)
    yield from _releases(site, study)
    num_train = yield from data_findings(site, study)
    yield from machine_findings(
        site, study, site.config.declared_patients if num_train is None else num_train
    )
    yield from answer_time_findings(site, study)
    yield from learning_findings(study, site.config.declared_patients)
    yield from ledger_findings(site, study)
    yield from key_findings(site.config)
    last = tried("enrolment", lambda: site.check_study(study), "the study's rules are the hospital's rules")
    remedy = "" if last.mark == "ok" else "; repair what the lines above name"
    yield Finding(last.mark, last.what, last.sentence + remedy)


def _asked(site: Site, study: StudyConfig) -> Iterator[Finding]:
    if study.expires < datetime.now(UTC).date():
        yield Finding("fail", "expiry", f"the study expired on {study.expires}; ask the hub for a new one")
    else:
        yield Finding("ok", "expiry", f"the study expires on {study.expires}")
    if not study.privacy.enabled:
        allowed = site.config.allow_without_privacy
        sentence = "privacy is off in this study: no guarantee holds, updates may reveal patients; ask for one with it"
        hint = "" if allowed else "; refused unless allow_without_privacy is true"
        yield Finding("warn" if allowed else "fail", "privacy", sentence + hint)
    elif site.config.allow_without_privacy:
        sentence = (
            "allow_without_privacy is true: any digest is accepted, and a study without noise is answered; set it to "
            "false unless that is meant"
        )
        yield Finding("warn", "privacy", sentence)


def _weights(site: Site, study: StudyConfig) -> Iterator[Finding]:
    models, accepted = study.models, site.config.accepted_digests
    for what, digest, load in (
        ("teacher", models.teacher.sha256, lambda: site.teacher(study)),
        ("initial student", models.initial_sha256, lambda: site.compact(study)),
    ):
        kind = accepted.get(str(digest), "not listed")
        yield tried(what, load, f"{digest} is here and accepted as {kind}")


def _declared(site: Site, study: StudyConfig) -> Iterator[Finding]:
    declared = site.config.declared_patients
    if not study.privacy.enabled:
        return
    expected = study.privacy.sample_rate * declared
    yield tried(
        "sample rate", lambda: check_sampling(study, declared), f"a step expects {expected:.1f} patients"
    )
    delta = study.privacy.delta
    yield tried(
        "delta",
        lambda: check_delta(delta, declared, "privacy.delta"),
        f"{delta:g} fits {declared} declared patients",
    )


def _releases(site: Site, study: StudyConfig) -> Iterator[Finding]:
    allowed = site.config.allow_releases
    lacking = [kind for kind in NEEDED if kind not in allowed]
    if lacking:
        yield Finding(
            "fail",
            "releases",
            f"allow_releases lacks {', '.join(lacking)}: the site cannot take part; add them",
        )
    else:
        yield Finding("ok", "releases", f"may leave: {', '.join(allowed)}")
    if "ledger_statement" not in allowed:
        sentence = "allow_releases lacks ledger_statement: no report can say what this site spent; add it if you agree"
        yield Finding("warn", "releases", sentence)
    for stage in STAGES.values():
        if stage.optional and stage.asked(study) and stage.release not in allowed:
            sentence = (
                f"the study asks for {stage.release} counts, which this site will refuse; add {stage.release} if you "
                "agree"
            )
            yield Finding("warn", "releases", sentence)
