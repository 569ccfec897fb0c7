"""`rounds-site study`: look at what a study asks, approve it, withdraw the approval.

In: a study's file or its digest. Out: text for the person who decides; nothing leaves.
"""

from datetime import UTC, datetime
from typing import Annotated

import typer

from client.cli.arguments import DEFAULT_SITE, SiteOption
from client.cli.site_opening import open_site
from client.cli.take import TAKE_EXAMPLES, take
from client.review.bundle_review import visible
from client.review.known_studies import known_studies, study_digest
from client.review.reviewed_documents import study_of
from client.review.study_terms import kept_figures, study_terms
from shared.terminal.command_line import examples
from shared.terminal.tables import plain_table, wide_console

study_app = typer.Typer(
    help="Decide on studies: a site answers none that its hospital has not approved.", no_args_is_help=True
)
StudyName = Annotated[
    str, typer.Argument(metavar="STUDY", help="the study's YAML file, or the digest of one shown before")
]


study_app.command(epilog=TAKE_EXAMPLES)(take)


@study_app.command(
    epilog=examples("rounds-site study show study.yaml", "rounds-site study show 8c1f... --site site.yaml")
)
def show(study: StudyName, site: SiteOption = DEFAULT_SITE) -> None:
    """Show purpose, ethics reference, expiry, what would leave, and the epsilon that the study asks for.

    Keeps a copy, so that later commands take the digest.
    """
    opened = open_site(site)
    figures = kept_figures(opened)
    for what, sentence in study_terms(opened, study_of(opened, study), figures):
        typer.echo(f"{what + ':':<24}{visible(sentence)}")
    figures.keep()


@study_app.command(
    epilog=examples("rounds-site study approve study.yaml", "rounds-site study approve 8c1f...")
)
def approve(study: StudyName, site: SiteOption = DEFAULT_SITE) -> None:
    """Approve a study: from now on this site answers its requests, within the rules of site.yaml."""
    opened = open_site(site)
    found = study_of(opened, study)
    opened.approvals().decide("study", "approve", found.digest())
    typer.echo(f"approved: study {found.name} until {found.expires}, digest {found.digest()}")


@study_app.command(epilog=examples("rounds-site study withdraw 8c1f..."))
def withdraw(
    digest: Annotated[
        str, typer.Argument(metavar="DIGEST", help="the study's digest, or enough of its first digits")
    ],
    site: SiteOption = DEFAULT_SITE,
) -> None:
    """Withdraw the approval of a study, also one listed in site.yaml; its cached teacher targets are purged."""
    opened = open_site(site)
    digest = study_digest(opened, digest)
    opened.approvals().decide("study", "withdraw", digest)
    num_purged = opened.purge_targets()
    typer.echo(f"withdrawn: study {digest}; cached targets of {num_purged} patients purged")
    typer.echo("cannot be undone: what this site released to the study before; its spend stays in the ledger")


@study_app.command("list", epilog=examples("rounds-site study list"))
def list_studies(site: SiteOption = DEFAULT_SITE) -> None:
    """List the studies that were looked at, approved or withdrawn here, and until when each holds."""
    today = datetime.now(UTC).date()
    rows = (
        (one.digest[:12], visible(one.name), one.until(today), one.decided)
        for one in known_studies(open_site(site))
    )
    wide_console().print(plain_table(("digest", "study", "until", "decided"), rows))
