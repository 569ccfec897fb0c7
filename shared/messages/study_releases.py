"""What a study would have leave a hospital, in sentences: the same at the hub that offers it and at the site.

In: the study. Out: a sentence a kind of release, by its name in `allow_releases`.
"""

from shared.config.kinds import ReleaseKind
from shared.config.study import StudyConfig
from shared.messages.stages import STAGES


def study_releases(study: StudyConfig, declared: str = "the number of") -> dict[ReleaseKind, str]:
    """Return what leaves, and how often; `declared` is how many patients the site declares, where that is known."""
    told = {stage.release: stage.sentence(study, declared) for stage in STAGES.values() if stage.asked(study)}
    told["ledger_statement"] = "ledger statement (spend so far) with each of them"
    told["error"] = "error (a fixed code) at any refusal"
    return told
