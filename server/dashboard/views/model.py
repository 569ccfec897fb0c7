"""The model page: what the gate checked, what people decided and on what evidence, and what may be taken away.

In: the store, and who looks. Out: one frozen value. Where the looker has yet to say what they think, the verdict is
left out of it.
"""

from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from markupsafe import Markup

from server.dashboard.decisions import Decision, history
from server.dashboard.figures.limit import limit_bar
from server.dashboard.views.controls import Control, Facts, output_controls
from server.dashboard.views.head import Head
from server.dashboard.views.privacy_rows import documents, last_statements
from server.presentation.formatting import NOT_MEASURED, NOT_STATED, in_bytes, shown
from server.report.chai_fields import Card
from server.store.record_kinds import GateBody
from server.store.schema import CHECKS, MAPS, MODELS, RELEASES, SITES, STATEMENTS, STUDIES

_PASSED: Final = {True: "passed", False: "not passed", None: "does not apply"}
_SIDES: Final = {
    "least": "at least ",
    "most": "at most ",
    None: "",
}  # None: a record of before, which did not say


@dataclass(frozen=True)
class CheckLine:
    """One check of the gate, with its picture."""

    name: str
    state: str
    value: str
    limit: str
    bar: Markup | None
    sentence: str


@dataclass(frozen=True)
class ModelView:
    """Everything the page prints, but for who looks."""

    evidence: str
    judged: bool
    sentence: str
    checks: tuple[CheckLine, ...]
    facts: tuple[tuple[str, str], ...]
    weights: str | None
    size: str
    card: Card
    controls: tuple[Control, ...]
    decisions: tuple[Decision, ...]
    may_leave: bool
    why_not: str

    @property
    def last(self) -> Decision | None:
        """The decision that counts now."""
        return next((one for one in self.decisions if one.decides), None)


def model_view(connection: sa.Connection, head: Head) -> ModelView:
    """Read the page, in seven statements."""
    written = documents(connection, head.uid, ("gate", "model_card"))
    told, found = history(connection, head.uid), _model_and_counts(connection, head.uid)
    model = None if found.weights is None else found
    gate = GateBody.model_validate(written["gate"]) if "gate" in written else None
    weights = None if model is None else str(model.weights)
    may_leave, why_not = leaving(head, told, weights)
    return ModelView(
        evidence=head.evidence,
        judged=gate is not None,
        sentence="" if gate is None else gate.sentence,
        checks=_checks(connection, head.uid),
        facts=_facts(model),
        weights=weights,
        size=NOT_STATED if model is None else in_bytes(model.num_bytes),
        card=written.get("model_card", {}),
        controls=output_controls(_controlled(connection, head, told, found)),
        decisions=told,
        may_leave=may_leave,
        why_not=why_not,
    )


def leaving(head: Head, told: tuple[Decision, ...], weights: str | None) -> tuple[bool, str]:
    """Tell whether the student may be downloaded: gate and person both accepted it; else why not."""
    last = next((one for one in told if one.decides), None)
    if weights is None:
        return False, "No student is in the store yet."
    if head.verdict != "accepted":
        return False, "The gate holds this student, so it cannot be downloaded."
    if last is None:
        return False, "No auditor has decided yet; a student leaves only after an auditor accepted it."
    if last.action != "accept":
        return False, f"{last.person} decided to {last.action} it, so it cannot be downloaded."
    return True, ""


def _checks(connection: sa.Connection, uid: str) -> tuple[CheckLine, ...]:
    rows = connection.execute(sa.select(CHECKS).where(CHECKS.c.study_uid == uid).order_by(CHECKS.c.position))
    return tuple(
        CheckLine(
            name=row.name,
            state=_PASSED[row.passed],
            value=_number(row.value, row.threshold),
            limit="–" if row.threshold is None else f"{_SIDES[row.side]}{row.threshold:g}",
            bar=limit_bar(row.name, row.value, row.threshold, row.side),
            sentence=row.sentence,
        )
        for row in rows
    )


def _number(value: float | None, threshold: float | None) -> str:
    if value is not None:
        return f"{value:.3f}"
    return "–" if threshold is None else NOT_MEASURED


def _model_and_counts(connection: sa.Connection, uid: str) -> sa.Row[Any]:
    """Return the model's row, empty without one, whether there are maps, and how many ledger heads did not follow."""
    maps = sa.exists().where(MAPS.c.study_uid == uid).label("has_maps")
    lost = (
        sa.select(sa.func.count()).select_from(STATEMENTS)
        .where(STATEMENTS.c.study_uid == uid, STATEMENTS.c.follows.is_(False))
        .scalar_subquery().label("heads_lost")
    )  # fmt: skip
    columns = (MODELS.c.weights, MODELS.c.num_bytes, MODELS.c.facts)
    joined = STUDIES.outerjoin(MODELS, MODELS.c.study_uid == STUDIES.c.study_uid)
    asked = sa.select(*columns, maps, lost).select_from(joined).where(STUDIES.c.study_uid == uid)
    return connection.execute(asked).one()


def _facts(model: sa.Row[Any] | None) -> tuple[tuple[str, str], ...]:
    if model is None:
        return ()
    known = tuple((str(name).replace("_", " "), shown(value)) for name, value in model.facts.items())
    return (
        *known,
        ("size of the weights", in_bytes(model.num_bytes)),
        ("SHA-256 of the weights", model.weights),
    )


def _controlled(
    connection: sa.Connection, head: Head, told: tuple[Decision, ...], found: sa.Row[Any]
) -> Facts:
    uid = head.uid
    stated = last_statements(connection, uid)
    other = sa.select(sa.literal("site").label("what"), SITES.c.site.label("name")).where(
        SITES.c.study_uid == uid, SITES.c.code_digest != head.code_digest
    )
    kinds = sa.select(sa.literal("kind"), RELEASES.c.release).where(RELEASES.c.study_uid == uid)
    named = connection.execute(sa.union(other, kinds).order_by("what", "name")).all()
    return Facts(
        private=head.config.privacy.enabled,
        clip=shown(head.config.privacy.max_grad_norm),
        statements={site: None if one is None else one.statement for site, one in stated.items()},
        heads_lost=found.heads_lost,
        other_code=[name for what, name in named if what == "site"],
        kinds=[name for what, name in named if what == "kind"],
        verdict=head.verdict,
        has_maps=bool(found.has_maps),
        decisions=told,
        evidence=head.evidence,
        weights=found.weights,
    )
