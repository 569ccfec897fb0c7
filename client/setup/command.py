"""`rounds-site setup`: fill in site.yaml by looking at the images, with every question as an option too.

In: the hospital's own files, and answers. Out: site.yaml, and with a study what preview and check say.
"""

from pathlib import Path
from typing import Annotated

import typer

from client.cli.arguments import DEFAULT_SITE
from client.review.study_lookup import asked_study
from client.setup.afterwards import go_on, lines_after, say_next
from client.setup.dialogue import set_up
from client.setup.options import Options
from client.setup.questions import Questions
from shared.terminal.command_line import examples

app = typer.Typer()
SETUP_EXAMPLES = examples(
    "rounds-site setup site.yaml",
    "rounds-site setup --study lungs.study",
    "rounds-site setup site.yaml --study study.yaml",
    "rounds-site setup site.yaml --study study.yaml --source /data/films --patients each --declared 350 --yes",
    "rounds-site setup site.yaml --source /data/table.csv --patient-column Subject --map PNEU=pneumonia --map OTHER=",
)
_WHAT, _DATA, _NUMBERS, _AFTER = "What is read", "Whose and what it is", "Numbers", "Writing, and going on"


@app.command(epilog=SETUP_EXAMPLES)
def setup(
    context: typer.Context,
    site: Annotated[
        Path, typer.Argument(metavar="SITE.yaml", help="made by `rounds-site init`, or filled in before")
    ] = DEFAULT_SITE,
    study: Annotated[
        Path | None,
        typer.Option(
            "--study",
            metavar="STUDY",
            help="its file or the hub's parcel: classes for the label map; then preview and, with a file, check",
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--source", help="folder of the images, or their table", rich_help_panel=_WHAT),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option("--kind", help="table, folders, dicom-table or dicom-tag", rich_help_panel=_WHAT),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option("--labels", metavar="TABLE.csv", help="labels of DICOM files", rich_help_panel=_WHAT),
    ] = None,
    label_tag: Annotated[
        str | None, typer.Option("--label-tag", help="DICOM tag of the label", rich_help_panel=_WHAT)
    ] = None,
    file_column: Annotated[
        str | None, typer.Option("--file-column", metavar="NAME", help="of a table", rich_help_panel=_WHAT)
    ] = None,
    label_column: Annotated[
        str | None, typer.Option("--label-column", metavar="NAME", help="of a table", rich_help_panel=_WHAT)
    ] = None,
    patient_column: Annotated[
        str | None,
        typer.Option(
            "--patient-column", metavar="NAME", help="of a table; - for none", rich_help_panel=_DATA
        ),
    ] = None,
    patients: Annotated[
        str | None,
        typer.Option(
            "--patients",
            metavar="HOW",
            help="where only names of files can tell: the number of a proposal, a regular expression with a group, or "
            "each (every picture a patient of its own)",
            rich_help_panel=_DATA,
        ),
    ] = None,
    rows_of: Annotated[
        str | None,
        typer.Option("--rows-of", metavar="SITE", help="of a table of several", rich_help_panel=_DATA),
    ] = None,
    label_map: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="LABEL=CLASS",
            help="may be repeated; LABEL= leaves it out",
            rich_help_panel=_DATA,
        ),
    ] = None,
    accept_map: Annotated[
        bool,
        typer.Option("--accept-map", help="take guessed classes without a question", rich_help_panel=_DATA),
    ] = False,
    declared: Annotated[
        str | None,
        typer.Option("--declared", metavar="NUMBER", help="of training patients", rich_help_panel=_NUMBERS),
    ] = None,
    cap_epsilon: Annotated[
        str | None, typer.Option("--cap-epsilon", metavar="NUMBER", rich_help_panel=_NUMBERS)
    ] = None,
    cap_delta: Annotated[
        str | None, typer.Option("--cap-delta", metavar="NUMBER", rich_help_panel=_NUMBERS)
    ] = None,
    yes: Annotated[
        bool,
        typer.Option("--yes", help="take what is proposed as sure, and write", rich_help_panel=_AFTER),
    ] = False,
    preview: Annotated[
        Path | None,
        typer.Option(
            "--preview", metavar="FOLDER", help="write preview's page there", rich_help_panel=_AFTER
        ),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="check sends nothing to the hub", rich_help_panel=_AFTER)
    ] = False,
) -> None:
    """Look at the images, ask at most eight questions, and fill in site.yaml; nothing leaves this machine.

    Finds kind, columns, tags, classes and patients itself and says why. Without a terminal it never waits: what no
    option answers is told. Run again it starts from what is there. Ctrl-C leaves site.yaml as it was.
    """
    options = Options(
        source, kind, file_column, label_column, patient_column, rows_of, labels, label_tag, patients,
        tuple(label_map or ()), accept_map, declared, cap_epsilon, cap_delta,
    )  # fmt: skip
    questions = Questions(takes_proposals=yes)
    asked = None if study is None else asked_study(site, study)
    if not set_up(site, asked, options, questions):
        raise typer.Exit(1)
    status = 0
    if study is not None:
        lines = lines_after(site, study, preview, offline=offline)
        status = go_on(context.find_root().command, questions, lines)
    say_next(questions, site, study, status)
    raise typer.Exit(status)
