"""Where are the images, and how are they read? A folder that a person names goes in, one way to read it goes out.

What was found is told before each question, so that Enter means "as you see it".
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from client.setup.options import Options
from client.setup.proposals.contents import Contents, look_into
from client.setup.proposals.sources import KINDS, Way, tables_in, ways_to_read
from client.setup.proposals.tables import look_at_table
from client.setup.questions import Questions, one_of
from shared.errors import ConfigError
from shared.terminal.tables import printable


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


def ask_way(
    questions: Questions,
    options: Options,
    contents: Contents,
    classes: Sequence[str],
    before: Mapping[str, Any],
) -> Way:
    """Tell the ways to read the source, with reasons, and ask which it is."""
    tables, unread = tables_in(contents, classes)
    labels = None if options.labels is None else look_at_table(options.labels.absolute(), classes)
    ways = ways_to_read(contents, tables, labels)
    if before.get("source"):  # what was chosen before stands first
        ways.sort(key=lambda one: one.kind.startswith("dicom") != bool(before.get("dicom")))
    for sentence in unread:
        questions.say(f"  {sentence}", "yellow")
    allowed = [one for one in ways if not one.refused]
    if not allowed:
        why = ways[0].refused if ways else _nothing_fits(contents)
        raise ConfigError(f"source {contents.source} cannot be read as it is: {why}")
    questions.say("How it can be read:", "bold")
    _tell_ways(questions, ways)
    names = [_name(one, allowed) for one in allowed]
    chosen = questions.ask(
        "Which of these is it", "--kind", options.kind, one_of(names, "kind"), proposed=names[0],
    )  # fmt: skip
    return allowed[names.index(chosen)]


def _tell_ways(questions: Questions, ways: Sequence[Way]) -> None:
    """Tell the ways that may be taken, by number and with reasons, and why the others may not."""
    allowed = [one for one in ways if not one.refused]
    for number, way in enumerate(allowed, 1):
        questions.say(f"  {number}  {_name(way, allowed)}: {KINDS[way.kind]}", "bold")
        for reason in way.reasons:
            questions.say(f"       {printable(reason)}")
    for way in ways:
        if way.refused:
            questions.say(f"  -  {way.kind}: {printable(way.refused)}", "dim")


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
