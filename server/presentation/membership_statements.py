"""Membership inference as rows and sentences, the same on report and dashboard.

In: a `Membership`, or None where nothing was measured. Out: text. A figure never stands without its chance value, and
what was not measured says why and which command measures it.
"""

from dataclasses import dataclass
from typing import Final

from server.metrics.membership_result import LEVEL, Attack, AttackedModel, Membership, Rate
from server.presentation.formatting import NOT_MEASURED, shown
from server.presentation.svg_charts import interval_text

NAME: Final = "membership inference"
COMMAND: Final = "make membership"
LEVEL_WORDS: Final = f"{100 * LEVEL:.0f} %"
MODELS: Final = {
    "released": "this study's student",
    "other_patients": "same recipe, never saw these patients",
    "without_privacy": "the same study without privacy",
    "other_patients_without_privacy": "same without privacy, never saw these patients",
    "warm_start": "warm start, never saw these hospitals",
    "memorised": "made to memorise random labels (must be found)",
}
ATTACKS: Final = {"loss": "loss threshold", "lira": "LiRA, offline", "rmia": "RMIA, offline"}
HEAD: Final = (
    "student", "attack", "AUC (chance 0.5)", f"members found at {LEVEL_WORDS} false alarms (chance {LEVEL_WORDS})",
    "members / non-members", "epsilon by ledger", "epsilon shown, at least",
)  # fmt: skip
CAPTION: Final = (
    "Who trained it? Three attacks on this student and on students that must, and must not, give in"
)


@dataclass(frozen=True)
class MembershipView:
    """What a page prints: measured or not, the finding in words, and the rows of the table."""

    state: str
    finding: str
    rows: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()
    name: str = NAME
    caption: str = CAPTION
    head: tuple[str, ...] = HEAD


def membership_view(found: Membership | None, *, is_made: bool) -> MembershipView:
    """Arrange what was measured; `is_made` tells that the study's hospitals are made ones."""
    if found is None:
        return MembershipView(NOT_MEASURED, not_measured(is_made=is_made))
    rows = tuple(_row(model, attack) for model in found.models for attack in model.attacks)
    return MembershipView(_state(found), _finding(found), rows, _notes(found))


def not_measured(*, is_made: bool) -> str:
    """Say why nothing was measured, and what would."""
    if is_made:
        return (
            f"{NOT_MEASURED.capitalize()} here. The command {COMMAND} measures it and adds it to the report."
        )
    return (
        f"{NOT_MEASURED.capitalize()}: it takes the patients that trained the student, who never leave their hospital, "
        f"and more like them. The command {COMMAND} measures it on made hospitals, with and without privacy."
    )


def _state(found: Membership) -> str:
    """Say whether the released student's rate stands at 1 %; at another rate it is not what a reader expects."""
    attacks = found.models[0].attacks
    if all(one.is_at_level for one in attacks):
        return "measured"
    return f"{NOT_MEASURED} at {LEVEL_WORDS}" if any(one.true_positive for one in attacks) else NOT_MEASURED


def _finding(found: Membership) -> str:
    """Say the released student's most telling attack, beside a student that cannot know."""
    first = found.models[0]
    known = [one for one in first.attacks if one.true_positive is not None]
    if not known:
        return f"{NOT_MEASURED.capitalize()}: {first.attacks[0].reason}."
    most = max(known, key=lambda one: one.true_positive.value if one.true_positive else 0)
    said = (
        f"The most telling of {len(known)} attacks ({ATTACKS[most.attack]}) finds {_at(most)} of the members; chance "
        f"is {shown(100 * (most.level or 0))} %."
    )
    beside = {
        model.model: one for model in found.models for one in model.attacks if one.attack == most.attack
    }
    for key, words in (
        ("other_patients", "A student of the same recipe that never saw these patients gives"),
        ("without_privacy", "The same study without privacy gives"),
        ("memorised", "A student made to memorise random labels of a few members gives"),
    ):
        if key in beside and beside[key].true_positive is not None:
            said += f" {words} {_at(beside[key])}."
    return said


def _notes(found: Membership) -> tuple[str, ...]:
    first = found.models[0]
    return (
        (
            f"Measured on {found.data}, with patients as units and each patient's {found.views} training views as "
            f"questions; {first.num_references} reference students of the same recipe saw other patients."
        ),
        (
            "Intervals are 95 %. That of a share is exact, for the members counted and for the non-members that set "
            "the threshold; that of the AUC resamples patients."
        ),
        (
            "Epsilon shown is what this one run proves with 95 % confidence for one attack: 0 proves nothing, and one "
            "row in twenty shows a little by chance. The ledger's epsilon is a bound for every attack, not for these."
        ),
    )


def _row(model: AttackedModel, one: Attack) -> tuple[str, ...]:
    epsilon = "no bound" if model.epsilon is None else shown(model.epsilon, 2)
    seen = one.epsilon_seen
    return (
        MODELS[model.model],
        ATTACKS[one.attack],
        interval_text(one.auc),
        _at(one) if one.true_positive else f"{NOT_MEASURED}: {one.reason}",
        f"{shown(one.num_members)} / {shown(one.num_non_members)}",
        epsilon,
        NOT_MEASURED if seen is None else f"{seen.at_least:.2f} (of at most {seen.ceiling:.1f})",
    )


def _at(one: Attack) -> str:
    if one.true_positive is None:
        return NOT_MEASURED
    text = _rate(one.true_positive)
    return (
        text if one.is_at_level else f"{text} at {100 * (one.level or 0):.0f} % false alarms ({one.reason})"
    )


def _rate(one: Rate) -> str:
    return f"{one.value:.1%} ({one.low:.1%} to {one.high:.1%})".replace("%", " %")
