"""`rounds-site study take`: one parcel of the hub, two decisions, one answer.

In: the file that the hub sent, and what a person types. Out: text for that person, files at this hospital, and the one
file to send back.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from client.cli.arguments import DEFAULT_SITE, SiteOption
from client.cli.site_opening import open_site
from client.review.bundle_report import bundle_lines
from client.review.bundle_review import visible
from client.review.parcel_intake import looked_at, put_in_place, trusted_hub, with_weights
from client.review.study_terms import kept_figures, study_terms
from shared.errors import ConfigError
from shared.terminal.command_line import examples
from shared.trust.parcel import opened_parcel

TAKE_EXAMPLES = examples(
    "rounds-site study take lungs.study",
    "rounds-site study take lungs.study --site /site/site.yaml --yes-code 4bde0b1b... --yes-study 8c1f...",
)


def take(
    parcel: Annotated[Path, typer.Argument(metavar="PARCEL", help="the file that the hub sent")],
    site: SiteOption = DEFAULT_SITE,
    diff: Annotated[bool, typer.Option("--diff", help="print every line of code that differs")] = False,
    yes_code: Annotated[
        str | None,
        typer.Option("--yes-code", metavar="SHA256", help="approve this bundle without being asked"),
    ] = None,
    yes_study: Annotated[
        str | None,
        typer.Option("--yes-study", metavar="DIGEST", help="approve this study without being asked"),
    ] = None,
) -> None:
    """Check what the hub offers, show its code and its study, ask yes for each, and put all of it in place.

    Nothing is changed before both yeses. The answer that is written holds digests, signatures and this site's name.
    """
    opened = open_site(site)
    figures = kept_figures(opened)
    with opened_parcel(parcel, trusted_hub(opened), datetime.now(UTC)) as found:
        taken = looked_at(found)
        name = found.contents.federation
        typer.echo(
            f"Sealed by the hub of {name!r}, whole: parcel {found.digest}\n\nTHE CODE that would run here"
        )
        for line in bundle_lines(opened, taken.bundle, diff=diff):
            typer.echo(line)
        _require_yes("code", "--yes-code", yes_code, taken.bundle.sha256)
        typer.echo("\nTHE STUDY that would be answered")
        for what, sentence in study_terms(with_weights(opened, taken), taken.study, figures):
            typer.echo(f"{what + ':':<24}{visible(sentence)}")
        for role, digest in taken.weights.items():
            kind = opened.config.accepted_digests.get(digest)
            told = "accepted as public: the hub says that they were made without patients of this hospital"
            typer.echo(
                f"{f'{role} weights:':<24}{told if kind is None else f'listed in site.yaml as {kind}'}"
            )
        _require_yes("study", "--yes-study", yes_study, taken.study.digest())
        answer = put_in_place(opened, site, taken)
        figures.keep()
    typer.echo(f"\napproved: code {taken.bundle.sha256}")
    typer.echo(
        f"approved: study {taken.study.name} until {taken.study.expires}, digest {taken.study.digest()}"
    )
    typer.echo(f"weights are in {opened.config.weights_dir}, their digests in {site}")
    typer.echo(
        f"send the hub {answer}: it holds signatures, digests and this site's name, and nothing of patients"
    )
    typer.echo(f"next: rounds-site check {site}, then rounds-site run {site}")


def _require_yes(what: str, option: str, given: str | None, digest: str) -> None:
    """Ask for the word yes, or compare the digest that a script gives; anything else ends without a change."""
    if given is not None:
        if given != digest:
            raise ConfigError(
                f"{option} is {given!r}, this parcel's {what} is {digest}; nothing was changed, look at it first"
            )
        return
    if str(typer.prompt(f"Approve this {what}? Type yes or no")).strip().lower() != "yes":
        typer.echo(f"The {what} is not approved; nothing was changed.", err=True)
        raise typer.Exit(1)
