"""What does the hospital call things, and whose is a picture? A way to read goes in; `data` of site.yaml comes out.

What was answered before, where the source is the same, is proposed again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from client.setup.options import Options
from client.setup.proposals.patients import groupings
from client.setup.proposals.sources import Way
from client.setup.proposals.tables import TableColumns
from client.setup.questions import Questions, one_of
from shared.config.files import parsed_as
from shared.config.site_data import SiteData
from shared.errors import ConfigError
from shared.terminal.tables import printable

NOBODY = "-"  # no column; and each picture counts as a patient of its own
EACH = "each"


def ask_names(
    questions: Questions, options: Options, way: Way, before: Mapping[str, Any], name: str
) -> SiteData:
    """Ask what a way leaves open: columns or tag of the label, whose a picture is, and which rows are ours."""
    if str(before.get("source")) != str(way.source):
        before = {name: before[name] for name in ("dicom", "max_unreadable") if name in before}
    raw: dict[str, Any] = {"source": str(way.source)}
    if "max_unreadable" in before:
        raw["max_unreadable"] = before["max_unreadable"]
    if way.kind == "table" and way.table is not None:
        raw |= _table_names(questions, options, way.table, before, name)
    elif way.kind == "folders":
        if not way.names_patients:
            raw |= _pattern(questions, options, way.paths, tuple(way.labels), before)
    elif way.headers is not None:
        raw["dicom"] = _kept_rules(before) | _dicom_rules(questions, options, way, before)
    return parsed_as(SiteData, raw, "site.yaml")


def _table_names(
    questions: Questions, options: Options, table: TableColumns, before: Mapping[str, Any], name: str
) -> dict[str, Any]:
    was = dict(before.get("columns") or {})
    of_table = one_of(table.names, "column")
    file = questions.ask(
        "Column of the files", "--file-column", options.file_column or table.files[0], of_table
    )
    label = questions.ask(
        "Column of the label", "--label-column", options.label_column, of_table,
        proposed=_first(was.get("label"), table.labels, table.names),
        why=f"Columns with few values: {', '.join(table.labels[:6])}.",
    )  # fmt: skip
    patient = questions.ask(
        f"Column that tells patients apart ({NOBODY} for none)", "--patient-column", options.patient_column,
        one_of(table.names, "column", more=(NOBODY,)),
        proposed=_first(was.get("patient_id"), (*table.patients, NOBODY), table.names),
        is_sure=bool(table.patients) or was.get("patient_id") in table.names,
        why="Privacy is for one patient: a person under two identifiers is protected as two.",
    )  # fmt: skip
    raw: dict[str, Any] = {}
    if patient == NOBODY:
        _refuse_own_column(table, "patient_id")
        if table.values[file]:
            raw |= _pattern(questions, options, table.values[file], table.values[label], before)
    columns = table.named(file=file, label=label, patient_id="" if patient == NOBODY else patient)
    if columns:
        raw["columns"] = columns
    if words := table.split_words():
        questions.say(
            f"Column split holds {', '.join(words[:4])}: such rows are left out, allowed is train, val, test or empty.",
            "yellow",
        )
    sites = table.sites()
    if len(sites) > 1 or (sites and sites != (name,) and options.rows_of):
        known = before.get("site") if before.get("site") in sites else name if name in sites else None
        raw["site"] = questions.ask(
            "Which site's rows are yours", "--rows-of", options.rows_of, one_of(sites, "site"), proposed=known,
            why=f"Column site names {len(sites)}: {', '.join(sites[:8])}.",
        )  # fmt: skip
    return raw


def _refuse_own_column(table: TableColumns, name: str) -> None:
    """Refuse to pass over a column that has our own name: it is read whatever is said of others."""
    if own := table.column(name):
        raise ConfigError(
            f"column {own!r} of {table.path.name} is read as {name} by its name; choose it, or rename it in the table"
        )


def _pattern(
    questions: Questions,
    options: Options,
    paths: Sequence[str],
    labels: Sequence[str],
    before: Mapping[str, Any],
) -> dict[str, Any]:
    """Ask how names of files tell patients apart: by a pattern, or not at all, which must be said."""
    found = groupings(paths, {*labels})
    questions.say("Whose is a picture? Nothing but its name can say (no patients.csv, no column).", "bold")
    for place, one in enumerate(found, 1):
        questions.say(
            f"  {place}  {one.goes_by}: {one.num_patients} patients in {one.num_pictures} pictures, "
            f"such as {one.example[1]!r} in {printable(one.example[0])}"
        )
    if not found:
        questions.say("  No pattern groups these names.", "yellow")
    questions.say(
        f"  {EACH}  each picture is a patient of its own: where one person has two, each is protected alone",
        "yellow",
    )
    patterns = [one.pattern for one in found]

    def parse(answer: str) -> str:
        if answer == EACH:
            return EACH
        if answer.isascii() and answer.isdecimal() and 1 <= int(answer) <= len(patterns):
            return patterns[int(answer) - 1]
        if "(" in answer:
            return _checked(answer)
        raise ConfigError(
            f"the answer is {answer[:60]!r}, allowed is a number above, {EACH!r}, or a regular expression with a group "
            "that holds the patient; correct it"
        )

    said = questions.ask(
        f"How are patients told apart (number, pattern or {EACH})", "--patients", options.patients, parse,
        proposed=before.get("patient_pattern"),
    )  # fmt: skip
    return {} if said == EACH else {"patient_pattern": said}


def _checked(pattern: str) -> str:
    """Return a pattern that names somebody; `ConfigError` for any other."""
    parsed_as(SiteData, {"source": "x", "patient_pattern": pattern}, "--patients")
    return pattern


def _dicom_rules(
    questions: Questions, options: Options, way: Way, before: Mapping[str, Any]
) -> dict[str, Any]:
    was = dict(before.get("dicom") or {})
    if way.kind == "dicom-table" and way.table is not None:
        label = questions.ask(
            "Column of the label", "--label-column", options.label_column, one_of(way.table.names, "column"),
            proposed=_first((was.get("columns") or {}).get("label"), way.table.labels),
        )  # fmt: skip
        columns = way.table.named(label=label, **{way.key: way.table.files[0]})
        return {"labels": str(way.table.path), "label_key": way.key} | (
            {"columns": columns} if columns else {}
        )
    tags = {} if way.headers is None else way.headers.tags
    tag = questions.ask(
        "Tag of the label", "--label-tag", options.label_tag, one_of(tuple(tags), "tag"),
        proposed=_first(was.get("label_tag"), tuple(tags)),
        why="; ".join(f"{name}: {', '.join(values)}" for name, values in list(tags.items())[:6]),
    )  # fmt: skip
    return {"label_tag": tag, "label_rules": {value: value for value in tags[tag]}}


def _first(before: Any, proposals: Sequence[str], allowed: Sequence[str] = ()) -> str:
    """Return what was chosen before, where it is still there, else the best proposal."""
    return str(before) if before in {*proposals, *allowed} else proposals[0]


def _kept_rules(before: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a person decided about text and kept pictures; setup has no opinion on it."""
    rules = before.get("dicom") or {}
    return {name: rules[name] for name in ("keep", "text", "reviewed") if name in rules}
