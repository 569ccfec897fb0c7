"""What a study asks of this hospital, in the words of the person who decides on it.

In: the study and `site.yaml`. Out: pairs of a name and a sentence, for this hospital alone; no data is read.
"""

from collections.abc import Iterator, Sequence

from client.ledger.spend_cache import Figures, KeptFigures
from client.readiness.budget_check import ledger_findings
from client.rounds.study_cost import whole_study
from client.site.site_rules import SiteRules
from shared.config.study import StudyConfig
from shared.messages.stages import STAGES
from shared.messages.study_releases import study_releases
from shared.privacy.mechanisms import Mechanism


def kept_figures(site: SiteRules) -> KeptFigures:
    """Return what the accountants said at this site before; who decides whether more is kept calls `keep`."""
    return KeptFigures(site.config.state_dir / "figures.json")


def study_terms(site: SiteRules, study: StudyConfig, figures: Figures) -> Iterator[tuple[str, str]]:
    """Yield purpose, ethics, expiry, what would leave, epsilon asked, and what is decided here."""
    yield "study", f"{study.name}, digest {study.digest()}"
    yield "purpose", study.purpose
    yield "ethics reference", study.ethics_reference
    yield "expires", f"{study.expires}; teacher targets cached here are purged after that day"
    yield (
        "task",
        f"{', '.join(study.task.classes)}, images of {study.task.image_size} x {study.task.image_size}",
    )
    yield "teacher", f"{study.models.teacher.name}, weights {study.models.teacher.sha256}"
    yield "initial student", f"weights {study.models.initial_sha256}"
    yield "would leave", "; ".join(_releases(site, study))
    asked = whole_study(study, figures)
    yield "epsilon asked", _epsilon(study, asked["train"], figures)
    for partition, mechanisms in asked.items():
        if partition != "train":
            spend = figures.stated_spend(mechanisms, study.privacy.delta)
            yield f"of {partition} patients", f"epsilon {spend.epsilon:.3g} at delta {study.privacy.delta:g}"
    for finding in ledger_findings(site, study, figures):
        yield finding.what, finding.sentence
    yield "decided", _decided(site, study.digest())


def _releases(site: SiteRules, study: StudyConfig) -> Iterator[str]:
    optional = {stage.release for stage in STAGES.values() if stage.optional}
    for kind, sentence in study_releases(study, str(site.config.declared_patients)).items():
        if kind == "ledger_statement" and kind not in site.config.allow_releases:
            continue
        refused = kind in optional and kind not in site.config.allow_releases
        yield f"{sentence}, which site.yaml does not allow" if refused else sentence


def _epsilon(study: StudyConfig, mechanisms: Sequence[Mechanism], figures: Figures) -> str:
    privacy, rules = study.privacy, study.federation
    if not privacy.enabled:
        return "no limit: privacy is off in this study, and updates may reveal patients"
    asked = figures.stated_spend(mechanisms, privacy.delta)
    return (
        f"{asked.epsilon:.3g} at delta {privacy.delta:g} for one training patient over {rules.rounds} rounds of "
        f"{rules.steps} steps ({asked.accountant})"
    )


def _decided(site: SiteRules, digest: str) -> str:
    decided = site.approvals().is_approved("study", digest)
    if decided is None:
        return (
            "approved in site.yaml" if site.approves_study(digest) else "nothing yet: no request is answered"
        )
    return "approved here" if decided else "withdrawn here: no request is answered"
