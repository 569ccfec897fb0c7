"""The model page: what the gate checked, what people decided and on what evidence, and what may be taken away.

In: the store, and who looks. Out: one frozen value. Where the looker has yet to say what they think, the verdict is
left out of it.
"""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from pydantic import ConfigDict

from server.dashboard.decisions import Decision, history
from server.dashboard.views.controls import Control, Facts, output_controls
from server.dashboard.views.head import Head
from server.dashboard.views.privacy_rows import documents, last_statements
from server.metrics.gate_result import Check
from server.metrics.measured import ModelFacts
from server.presentation.formatting import NOT_STATED, in_bytes, shown
from server.presentation.gate_checks import CheckLine, check_lines
from server.presentation.model_facts import model_rows
from server.report.chai_fields import Card
from server.store.record_kinds import GateBody
from server.store.schema import CHECKS, DOCUMENTS, MAPS, MODELS, RELEASES, SITES, STATEMENTS, STUDIES
from shared.config.study import StudyConfig


class _Facts(ModelFacts):
    """The facts of a recorded student; what else a record says of it is shown elsewhere."""

    model_config = ConfigDict(extra="ignore")
    temperature: float | None = None


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
        checks=checks_of(connection, head.uid),
        facts=_facts(model, head.config),
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


def checks_of(connection: sa.Connection, uid: str) -> tuple[CheckLine, ...]:
    """Return what the gate checked, in its order."""
    table = CHECKS.c
    rows = connection.execute(
        sa.select(table.name, table.value, table.threshold, table.passed, table.sentence, table.side)
        .where(table.study_uid == uid)
        .order_by(table.position)
    ).mappings()
    return check_lines(Check.model_validate(dict(row)) for row in rows)


def _model_and_counts(connection: sa.Connection, uid: str) -> sa.Row[Any]:
    """Return the row of the model, if any, whether there are maps and attacks, and how many heads did not follow."""
    maps = sa.exists().where(MAPS.c.study_uid == uid).label("has_maps")
    lost = (
        sa.select(sa.func.count()).select_from(STATEMENTS)
        .where(STATEMENTS.c.study_uid == uid, STATEMENTS.c.follows.is_(False))
        .scalar_subquery().label("heads_lost")
    )  # fmt: skip
    tried = (
        sa.exists().where(DOCUMENTS.c.study_uid == uid, DOCUMENTS.c.name == "membership").label("attacked")
    )
    columns = (MODELS.c.weights, MODELS.c.num_bytes, MODELS.c.facts)
    joined = STUDIES.outerjoin(MODELS, MODELS.c.study_uid == STUDIES.c.study_uid)
    asked = sa.select(*columns, maps, lost, tried).select_from(joined).where(STUDIES.c.study_uid == uid)
    return connection.execute(asked).one()


def _facts(model: sa.Row[Any] | None, config: StudyConfig) -> tuple[tuple[str, str], ...]:
    if model is None:
        return ()
    facts = _Facts.model_validate({"num_bytes": model.num_bytes} | model.facts)
    task = config.task
    return (
        *model_rows(facts, task.classes, task.image_size, config.distillation.method),
        ("temperature", shown(facts.temperature, 2)),
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
        attacked=bool(found.attacked),
        decisions=told,
        evidence=head.evidence,
        weights=found.weights,
    )
