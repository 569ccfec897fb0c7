"""Records of a run that was made before there was an audit store, from what stands in its folder.

In: the run's own files. Out: records in its outbox that say that they were made later. Single answers of sites were
not kept at the time, so there are no records of them.
"""

from typing import Any, Final

from server.runs.checkpoints import StudyState
from server.runs.run_folder import RunFolder, read_lines
from server.runs.study_journal import WORTH_TELLING, event_body, package_versions, round_body
from server.runs.summary import read_summary
from server.store.intake.outbox import Outbox
from server.store.record_kinds import Body, EventBody, SiteBody, StatementBody, StudyBody
from shared.code_digest import code_digest
from shared.config.study import StudyConfig
from shared.errors import RoundsError
from shared.messages.release_kinds import LedgerStatement

_LATER: Final = (
    "these records were made from the run's own files after it; their times are not those of what they tell, and "
    "single answers of sites are not among them"
)


def record_past(folder: RunFolder, study: StudyConfig, state: StudyState) -> None:
    """Write the records of a study that has none; what a study wrote itself stays as it is."""
    outbox, uid = Outbox(folder.path), state.study_uid
    if outbox.bodies(uid, ["study"]):
        return
    lines = {line["round"]: line for line in read_lines(folder.rounds)}
    rounds = [round_body(lines[number]) for number in sorted(lines)]
    code, versions = _made_with(folder)
    statements = [LedgerStatement.model_validate(raw) for raw in state.statements.values()]
    begun = StudyBody(
        config=study,
        simulation=any("simulation" in one.span for one in statements),
        code_digest=code,
        versions=versions,
    )
    told: list[Body] = [begun, EventBody(event="recorded_later", what=_LATER)]
    told += [body for line in read_lines(folder.events) for body in _of_event(line, code)]
    told += rounds[:-1]
    told += [StatementBody(round=state.rounds_done, statement=one, follows=None) for one in statements]
    outbox.add(uid, *told, batch="past")
    for last in rounds[-1:]:  # under its own name: a study that is resumed would write this one
        outbox.add(uid, last, batch=f"round/{last.round}")


def _of_event(line: dict[str, Any], code: str) -> list[Body]:
    if line["event"] == "enrolled":
        return [SiteBody(site=line["site"], declared_patients=line["declared_patients"], code_digest=code)]
    details = {key: value for key, value in line.items() if key not in {"event", "time"}}
    return [event_body(line["event"], details)] if line["event"] in WORTH_TELLING else []


def _made_with(folder: RunFolder) -> tuple[str, dict[str, str]]:
    """Return the code's digest and the versions that an earlier report names, else those of now."""
    try:
        summary = read_summary(folder.path)
    except RoundsError:
        return code_digest(), package_versions()
    return summary.digests.get("code", code_digest()), summary.versions
