"""Where are the images, how are they read, and whose are they? Answers go out as `data` of site.yaml would say them.

What was found is told before each question, so that Enter means "as you see it".
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from client.setup.contents import Contents, look_into
from client.setup.options import Options
from client.setup.patients import groupings
from client.setup.questions import Questions, one_of
from client.setup.sources import KINDS, Way, tables_in, ways_to_read
from client.setup.tables import TableColumns, look_at_table
from shared.errors import ConfigError
from shared.site_data import SiteData
from shared.tables import printable

NOBODY = "-"  # no column; and each picture counts as a patient of its own
EACH = "each"


def ask_source(questions: Questions, options: Options, before: Mapping[str, Any]) -> Contents:
    """Ask for the folder, and tell what lies in it; `before` is `data` as site.yaml has it."""
    proposed = str(before.get("source") or "") or None
    given = None if options.source is None else str(options.source)

    def parse(answer: str) -> Contents:
        contents = look_into(Path(answer).expanduser().absolute())
        if contents.is_empty:
            seen = "; ".join(contents.sentences()) or "it is empty"
            raise ConfigError(
                f"source is {answer}, which holds no picture, DICOM file or table ({seen}); name another folder"
            )
        return contents

    contents = questions.ask(
        "Folder of the images, or their table", "--source", given, parse, proposed=proposed,
        why="Nothing is copied or changed there, and nothing of it leaves this machine.",
    )  # fmt: skip
    questions.say(f"Found in {printable(str(contents.source))}:", "bold")
    for sentence in contents.sentences():
        questions.say(f"  {sentence}")
    return contents


def ask_way(questions: Questions, options: Options, contents: Contents, classes: Sequence[str]) -> Way:
    """Tell the ways to read the source, with reasons, and ask which it is."""
    tables, unread = tables_in(contents, classes)
    labels = None if options.labels is None else look_at_table(options.labels.absolute(), classes)
    ways = ways_to_read(contents, tables, labels)
    for sentence in unread:
        questions.say(f"  {sentence}", "yellow")
    allowed = [one for one in ways if not one.refused]
    if not allowed:
        why = ways[0].refused if ways else _nothing_fits(contents)
        raise ConfigError(f"source {contents.source} cannot be read as it is: {why}")
    questions.console.print(_ways_table(ways))
    names = [_name(one, allowed) for one in allowed]
    chosen = questions.ask(
        "Which of these is it", "--kind", options.kind, one_of(names, "kind"), proposed=names[0],
    )  # fmt: skip
    return allowed[names.index(chosen)]


def ask_names(
    questions: Questions, options: Options, way: Way, before: Mapping[str, Any], name: str
) -> SiteData:
    """Ask what a way leaves open: columns or tag of the label, whose a picture is, and which rows are ours."""
    raw: dict[str, Any] = {"source": str(way.source)}
    if "max_unreadable" in before:
        raw["max_unreadable"] = before["max_unreadable"]
    if way.kind == "table" and way.table is not None:
        raw |= _table_names(questions, options, way.table, before, name)
    elif way.kind == "folders":
        raw |= _folder_names(questions, options, way)
    elif way.headers is not None:
        raw["dicom"] = _kept_rules(before) | _dicom_rules(questions, options, way)
    return SiteData.model_validate(raw)


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
        proposed=was.get("label") if was.get("label") in table.names else table.labels[0],
        why=f"Columns with few values: {', '.join(table.labels[:6])}.",
    )  # fmt: skip
    patient = questions.ask(
        f"Column that tells patients apart ({NOBODY} for none)", "--patient-column", options.patient_column,
        one_of(table.names, "column", more=(NOBODY,)),
        proposed=table.patients[0] if table.patients else NOBODY, is_sure=bool(table.patients),
        why="Privacy is for one patient: a person under two identifiers is protected as two.",
    )  # fmt: skip
    raw: dict[str, Any] = {}
    if patient == NOBODY:
        _refuse_own_column(table, "patient_id")
        if table.values[file]:
            raw |= _pattern(questions, options, table.values[file], table.values[label])
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


def _folder_names(questions: Questions, options: Options, way: Way) -> dict[str, Any]:
    if way.names_patients:
        return {}
    return _pattern(questions, options, way.paths, tuple(way.labels))


def _pattern(
    questions: Questions, options: Options, paths: Sequence[str], labels: Sequence[str]
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
            return str(SiteData.model_validate({"source": "x", "patient_pattern": answer}).patient_pattern)
        raise ConfigError(
            f"the answer is {answer[:60]!r}, allowed is a number above, {EACH!r}, or a regular expression with a group "
            "that holds the patient; correct it"
        )

    said = questions.ask(
        f"How are patients told apart (number, pattern or {EACH})", "--patients", options.patients, parse
    )
    return {} if said == EACH else {"patient_pattern": said}


def _dicom_rules(questions: Questions, options: Options, way: Way) -> dict[str, Any]:
    if way.kind == "dicom-table" and way.table is not None:
        label = questions.ask(
            "Column of the label", "--label-column", options.label_column, one_of(way.table.names, "column"),
            proposed=way.table.labels[0],
        )  # fmt: skip
        columns = way.table.named(label=label, **{way.key: way.table.files[0]})
        return {"labels": str(way.table.path), "label_key": way.key} | (
            {"columns": columns} if columns else {}
        )
    tags = {} if way.headers is None else way.headers.tags
    tag = questions.ask(
        "Tag of the label", "--label-tag", options.label_tag, one_of(tuple(tags), "tag"), proposed=next(iter(tags)),
        why="; ".join(f"{name}: {', '.join(values)}" for name, values in list(tags.items())[:6]),
    )  # fmt: skip
    return {"label_tag": tag, "label_rules": {value: value for value in tags[tag]}}


def _kept_rules(before: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a person decided about text and kept pictures; setup has no opinion on it."""
    rules = before.get("dicom") or {}
    return {name: rules[name] for name in ("keep", "text", "reviewed") if name in rules}


def _ways_table(ways: Sequence[Way]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2))
    for column in ("", "how it can be read", "why"):
        table.add_column(Text(column, "bold"))
    number = 0
    allowed = [one for one in ways if not one.refused]
    for way in ways:
        number += not way.refused
        why = "\n".join(way.reasons) + (f"\nnot here: {way.refused}" if way.refused else "")
        name = _name(way, allowed) if not way.refused else way.kind
        shown = Text(f"{name}: {KINDS[way.kind]}", "dim" if way.refused else "")
        table.add_row(
            "" if way.refused else str(number), shown, Text(printable(why), "dim" if way.refused else "")
        )
    return table


def _name(way: Way, ways: Sequence[Way]) -> str:
    """Return what a way is called: its kind, and its table's name where several are of one kind."""
    alike = [one for one in ways if one.kind == way.kind]
    return way.kind if alike[0] is way or way.table is None else f"{way.kind}:{way.table.path.name}"


def _nothing_fits(contents: Contents) -> str:
    if contents.dicom:
        return (
            "its DICOM files have no tag of few values that may be a label, and no table with their SOPInstanceUID or "
            "AccessionNumber lies beside them; name the table by --labels"
        )
    if contents.tables and not contents.images:
        return "no column of its tables names files that are there; put the files beside the table, or correct it"
    return (
        "its pictures lie in no class folders, and no table names them; put them into <class>/<picture>, or write a "
        "table with the columns file, label and patient_id"
    )
