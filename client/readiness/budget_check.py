"""Is the ledger whole, and does the budget pay for a study? Answered without spending or writing.

In: `site.yaml`, the ledger and the study's public parameters. Out: findings for the hospital; nothing leaves.
"""

from collections.abc import Iterator

from client.ledger.ledger import Ledger
from client.ledger.spend_cache import ComputedFigures, Figures
from client.readiness.finding import Finding
from client.rounds.study_cost import Bill, bills
from client.site.site_rules import SiteRules
from shared.config.study import StudyConfig
from shared.errors import RoundsError
from shared.privacy.mechanisms import Unprotected


def ledger_findings(site: SiteRules, study: StudyConfig, figures: Figures | None = None) -> Iterator[Finding]:
    """Yield what is to be said of ledger, head file and budget; a ledger that is not there is not begun.

    Without `figures` they are computed.
    """
    figures = figures or ComputedFigures()
    path, head = site.config.state_dir / "ledger.sqlite", site.config.head_file
    if not path.is_file() and not head.is_file():
        yield Finding("ok", "ledger", "none yet: it begins when the site first enrols")
        yield from _budget(site, study, None, figures)
        return
    try:
        with Ledger.open(path, head) as ledger:
            number = ledger.verify()
            yield Finding("ok", "ledger", f"{number} rows, whole, and equal to its head file")
            yield enrolment_finding(site, ledger.enrolments(study.digest()))
            if path.stat().st_dev == head.stat().st_dev:
                sentence = (
                    "head_file is on the ledger's volume: a restored volume would hide lost rows; move it"
                )
                yield Finding("warn", "ledger", sentence)
            yield from _budget(site, study, ledger, figures)
    except RoundsError as error:
        yield Finding("fail", "ledger", str(error))


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
    site: SiteRules, study: StudyConfig, ledger: Ledger | None, figures: Figures
) -> Iterator[Finding]:
    """Say what the whole study would bring each partition to, as enrolment asks it."""
    unlisted = [
        digest[:12] for digest, one in site.weights_spends(study).items() if isinstance(one, Unprotected)
    ]
    if unlisted and not site.config.allow_without_privacy:
        sentence = (
            f"weights {' and '.join(unlisted)} are not listed in accepted_digests, so what they have spent is not "
            "known and the study is refused; list them as public or private-dp, then check again"
        )
        yield Finding("fail", "budget", sentence)
        return
    uid = None if ledger is None else ledger.last_uid(study.digest())
    begun = {} if uid is None else {one.partition: one for one in bills(site, study, ledger, uid, figures)}
    for bill in bills(site, study, ledger, figures=figures):
        what = "budget" if bill.partition == "train" else "evaluation budget"
        yield _affordable(site, what, bill, begun.get(bill.partition), figures)
    if site.config.cap.delta < study.privacy.delta:
        sentence = (
            f"cap.delta {site.config.cap.delta:g} is below the study's {study.privacy.delta:g}: epsilon counts higher "
            "here; set cap.delta to the study's to compare the two"
        )
        yield Finding("warn", "budget", sentence)


def _affordable(site: SiteRules, what: str, bill: Bill, begun: Bill | None, figures: Figures) -> Finding:
    """Say whether the cap pays for all of the study; `begun` is what a run that has enrolled here still asks."""
    cap = site.config.cap
    spent = figures.stated_spend(bill.before, cap.delta).epsilon
    after = figures.spend_against(bill.after, cap.epsilon, cap.delta).epsilon
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
    paid = f"epsilon {spent:.2f} spent, the whole study would bring it to {after:.2f}, the cap is {cap.epsilon:g}"
    if (
        begun is not None
        and figures.spend_against(begun.after, cap.epsilon, cap.delta).epsilon <= cap.epsilon
    ):
        return Finding(
            "warn", what, f"{paid}: the run that has begun here can be resumed, a new one is refused"
        )
    return Finding(
        "fail",
        what,
        f"{paid}: this site does not enrol, and spends nothing; the hospital alone may raise the cap",
    )
