"""What a refusal means, and whose turn it is then: one row for each code that a site may say and each way of silence.

In: a code, or the sentence by which the hub's records say that nothing usable came. Out: words for the hub's own
screen, its pages and `docs/troubleshooting.md`. Nothing here knows of patients: a code always has the same words.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from shared.errors import ErrorCode

Turn = Literal["hub", "hospital", "nobody"]
NO_ANSWER: Final = "no answer by the deadline"
NODE_FAILED: Final = "the node failed or sent nothing usable"
CODE_REFUSED: Final = "code refused: the app bundle bears no valid signature of this hospital"


@dataclass(frozen=True)
class Meaning:
    """`what` the site said, `turn`: who acts next, `remedy`: what they do; each a clause without a full stop."""

    what: str
    turn: Turn
    remedy: str


MEANINGS: Final[Mapping[ErrorCode, Meaning]] = {
    ErrorCode.NOT_READY: Meaning(
        "the hospital is not ready for this study; only its own log says why",
        "hospital",
        "`rounds-site check site.yaml study.yaml` there names what is missing; then `rounds-hub study resume`",
    ),
    ErrorCode.CODE_NOT_APPROVED: Meaning(
        "the hospital has not approved this app bundle, or has withdrawn it",
        "hospital",
        "`rounds-site code show` and `rounds-site code approve` on the bundle that the hub sent, then `rounds-hub code "
        "sign-in` with the new signatures file, then `rounds-hub study resume`",
    ),
    ErrorCode.STUDY_NOT_APPROVED: Meaning(
        "the hospital has not approved just this study, or has withdrawn it",
        "hospital",
        "compare the study's digest on both sides; `rounds-site study show` and `rounds-site study approve` on the "
        "very study.yaml that is asked, then `rounds-hub study resume`",
    ),
    ErrorCode.STUDY_EXPIRED: Meaning(
        "the study's day of expiry has passed at the hospital",
        "hub",
        "set a later `expires` in study.yaml, send it for approval again and submit it as a new study; if the day has "
        "not come, the hospital's clock is wrong",
    ),
    ErrorCode.BAD_REQUEST: Meaning(
        "the request asks for something that no approved study may ask of this hospital",
        "hub",
        "run the same version on both sides and submit the prepared study as it is; the hospital's log names the field",
    ),
    ErrorCode.WEIGHTS_NOT_ACCEPTED: Meaning(
        "the hospital does not have the study's weights, or has not listed their digest",
        "hospital",
        "put the weights that the hub sent into `weights_dir` and their whole digests under `accepted_digests` in "
        "site.yaml; `rounds-site check` prints them",
    ),
    ErrorCode.RELEASE_NOT_ALLOWED: Meaning(
        "the hospital's site.yaml does not let this kind of answer out",
        "hospital",
        "add the kind to `allow_releases` in site.yaml if the hospital agrees, else ask for a study without it",
    ),
    ErrorCode.BUDGET_SPENT: Meaning(
        "one more answer would pass the hospital's own cap on what a patient may spend",
        "hospital",
        "nothing mends it within this study; the hospital raises `cap` in site.yaml, or the hub asks for less in a new "
        "study (`privacy.epsilon`, `federation.rounds`)",
    ),
    ErrorCode.ENROLMENTS_SPENT: Meaning(
        "this study was let look at the hospital's patients as often as `max_enrolments` allows",
        "hospital",
        "raise `max_enrolments` in site.yaml if the hospital agrees that the study is begun once more",
    ),
    ErrorCode.DEADLINE_TOO_SHORT: Meaning(
        "the study's deadline comes before the hospital's fixed time of answering",
        "hub",
        "raise `federation.deadline_seconds` (and `federation.enrolment_seconds`) in a new study; `rounds-site check` "
        "names the least",
    ),
    ErrorCode.LEDGER_CONFLICT: Meaning(
        "the hospital has answered this round before, for other weights",
        "hub",
        "resume the study with its own checkpoint and never a copy of it; where that is lost, submit a new study",
    ),
    ErrorCode.LEDGER_STOPPED: Meaning(
        "the hospital's ledger is damaged or older than its head file",
        "hospital",
        "put back the newest ledger and head file; `rounds-site ledger show` says when they agree again",
    ),
    ErrorCode.APPROVALS_STOPPED: Meaning(
        "the hospital's record of its decisions is damaged or older than its head file",
        "hospital",
        "put back the newest record from the backup; `rounds-site check` says when it is whole again",
    ),
    ErrorCode.DEVICE_MISSING: Meaning(
        "the GPU that the hospital's site.yaml names is not there or does not work",
        "hospital",
        "make the GPU work or write `compute.device: cpu`; `rounds-site check` names what it found",
    ),
    ErrorCode.FAILED: Meaning(
        "something failed at the hospital while it worked; only its own log says what",
        "hospital",
        "read the log of `rounds-site run`, mend it, see `rounds-site check`; the next round asks again",
    ),
}  # fmt: skip
SILENCES: Final[Mapping[str, Meaning]] = {
    NO_ANSWER: Meaning(
        "no answer came in time",
        "hospital",
        "see that `rounds-site run` is up and that the deadline leaves the site its time; the next round asks again",
    ),
    NODE_FAILED: Meaning(
        "the site's node failed, or what it sent could not be read",
        "hospital",
        "read the log of `rounds-site run`: memory that ran out is the commonest cause; the next round asks again",
    ),
    CODE_REFUSED: Meaning(
        "the site's node refuses the app bundle: no signature of this hospital covers it",
        "hospital",
        "`rounds-site code approve` on the bundle, `rounds-hub code sign-in` here, then `rounds-hub study resume`",
    ),
}


def code_of(outcome: str) -> ErrorCode | None:
    """Return the code that an answer held; None where the outcome is no code."""
    return ErrorCode(outcome) if outcome in set(ErrorCode) else None


def meaning_of(outcome: str) -> Meaning | None:
    """Return what an outcome in the study's records means; None for a sentence that explains itself."""
    code = code_of(outcome)
    return SILENCES.get(outcome) if code is None else MEANINGS[code]


def refusal_sentence(outcome: str) -> str:
    """Write an outcome for a person: its code, what it means, what to do next.

    >>> refusal_sentence("budget_spent").split(":")[0], refusal_sentence("the study has ended")
    ('budget_spent', 'the study has ended')
    """
    found, code = meaning_of(outcome), code_of(outcome)
    if found is None:
        return outcome
    said = found.what if code is None else f"{code.value}: {found.what}"
    return f"{said}; {found.remedy}"
