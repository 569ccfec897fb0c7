"""What a study would have leave a hospital, in sentences: the same at the hub that offers it and at the site.

In: the study. Out: a sentence a kind of release, by its name in `allow_releases`.
"""

from shared.config.site import ReleaseKind
from shared.config.study import StudyConfig


def study_releases(study: StudyConfig, declared: str = "the number of") -> dict[ReleaseKind, str]:
    """Return what leaves, and how often; `declared` is how many patients the site declares, where that is known."""
    rules = study.federation
    told: dict[ReleaseKind, str] = {
        "enrolment": f"enrolment (name, versions, {declared} declared patients) once",
        "update": f"update (noised difference of the weights '{study.privacy.trainable}') in each of {rules.rounds} "
        "rounds",
    }
    if not study.privacy.enabled:
        told["update"] = f"update (difference of the weights, WITHOUT noise) in each of {rules.rounds} rounds"
    if rules.evaluate_sites:
        told["evaluation"] = "evaluation (noised counts) once"
    told["ledger_statement"] = "ledger statement (spend so far) with each of them"
    told["error"] = "error (a fixed code) at any refusal"
    return told
