"""`rounds-site preview`: the page of pictures for the hospital's own eyes.

In: the hospital's own files. Out: one page on this machine, which must not leave it.
"""

from pathlib import Path
from typing import Annotated

import typer

from client.cli.arguments import DEFAULT_SITE, SiteFile, StudyFile
from client.cli.output import following
from client.preview.page import private_folder, render, write_page
from client.preview.survey import files_of, see
from client.review.study_lookup import asked_study
from client.site.site import Site
from shared.config.files import read_site
from shared.errors import ConfigError
from shared.terminal.command_line import examples
from shared.terminal.tables import printable

app = typer.Typer()


@app.command(
    epilog=examples(
        "rounds-site preview site.yaml study.yaml --out preview",
        "rounds-site preview site.yaml study.yaml --out preview --films 16",
        "rounds-site preview site.yaml study.yaml --who 17",
    )
)
def preview(
    site: SiteFile = DEFAULT_SITE,
    study: StudyFile = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="new, or readable by you alone; gets preview.html"),
    ] = None,
    films: Annotated[
        int, typer.Option("--films", min=1, max=200, help="pictures for each class and part of the data")
    ] = 8,
    who: Annotated[
        int | None,
        typer.Option("--who", metavar="NUMBER", help="print the files of a patient of the page instead"),
    ] = None,
) -> None:
    """Write a page with pictures as the model sees them, counts, outliers and suspected text, for your eyes only.

    The page shows patients' images: it must not leave the hospital. It needs no network, asks nobody for anything, and
    names patients by a number alone; --who says which files a number stands for.
    """
    opened = Site(read_site(site))
    asked = asked_study(site, study)
    if who is not None:
        for file in files_of(opened, asked, who):
            typer.echo(printable(str(file)))
        return
    if out is None:
        raise ConfigError("--out is missing, needed is a folder for the page; see --help")
    folder = private_folder(out)
    with following() as progress:
        text = render(see(opened, asked, films, progress), progress)
    page = write_page(folder, text)
    typer.echo(
        f"{page}: shows patients' images. It must not leave the hospital; delete it when you are done."
    )
