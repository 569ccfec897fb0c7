"""`rounds-site code`: look at the hub's app bundles, approve them, withdraw the approval.

In: a bundle or its digest. Out: text for the person who decides, and two public files that follow from decisions.
"""

from pathlib import Path
from typing import Annotated

import typer

from client.cli.arguments import DEFAULT_SITE, SiteOption
from client.cli.site_opening import open_site
from client.consent.approvals import Approvals
from client.consent.bundle_signing import signatures, write_trusted_entities
from client.review.bundle_report import bundle_lines
from client.review.reviewed_documents import bundle_of, is_digest
from client.site.site_rules import SiteRules
from shared.errors import ConfigError
from shared.terminal.command_line import examples
from shared.whole_file import whole_file

code_app = typer.Typer(
    help="Decide which code of the hub this hospital runs: no other bundle is let in by its node.",
    no_args_is_help=True,
)
BundleName = Annotated[
    str, typer.Argument(metavar="BUNDLE", help="a .fab file, or the digest of one shown before")
]


@code_app.command(
    epilog=examples("rounds-site code show rounds.fab", "rounds-site code show 4bde0b1b... --diff")
)
def show(
    bundle: BundleName,
    site: SiteOption = DEFAULT_SITE,
    diff: Annotated[bool, typer.Option("--diff", help="print every line that differs")] = False,
) -> None:
    """Show what is in a bundle: its files, its digest, and what differs from the last approved or installed code.

    Keeps a copy, so that later commands take the digest. Nothing of the bundle is run.
    """
    opened = open_site(site)
    for line in bundle_lines(opened, bundle_of(opened, bundle), diff=diff):
        typer.echo(line)


@code_app.command(
    epilog=examples("rounds-site code approve rounds.fab", "rounds-site code approve 4bde0b1b...")
)
def approve(bundle: BundleName, site: SiteOption = DEFAULT_SITE) -> None:
    """Approve a bundle: sign its SHA-256 with the hospital's key, and write the file to send to the hub."""
    opened = open_site(site)
    found = bundle_of(opened, bundle)
    approvals = opened.approvals().decide("code", "approve", found.sha256, code_digest=found.code_digest)
    typer.echo(f"approved: bundle {found.sha256}")
    _write(opened, approvals, site)


@code_app.command(epilog=examples("rounds-site code withdraw 4bde0b1b..."))
def withdraw(
    digest: Annotated[str, typer.Argument(metavar="DIGEST", help="SHA-256 of a bundle, 64 digits")],
    site: SiteOption = DEFAULT_SITE,
) -> None:
    """Withdraw the approval of a bundle: refused from now on, also where the hub keeps its old signature."""
    if not is_digest(digest):
        raise ConfigError(
            f"DIGEST is {digest!r}, allowed are 64 digits of 0-9 and a-f; copy it from `code list`"
        )
    opened = open_site(site)
    approvals = opened.approvals().decide("code", "withdraw", digest)
    typer.echo(f"withdrawn: bundle {digest}; requests for its code are refused from now on")
    _write(opened, approvals, site)
    typer.echo(
        "`rounds-site run` starts this site's node again by itself; start any other again now: only then "
        "does it refuse the bundle before any of it runs"
    )


@code_app.command("list", epilog=examples("rounds-site code list"))
def list_bundles(site: SiteOption = DEFAULT_SITE) -> None:
    """List the bundles that are approved now."""
    for entry in open_site(site).approvals().approved_bundles():
        typer.echo(f"{entry.digest}  code {str(entry.code_digest)[:12]}  decision {entry.number}")


def _write(site: SiteRules, approvals: Approvals, site_file: Path) -> None:
    name = site.config.name
    path = site_file.parent / f"{name}.signatures.json"
    with whole_file(path) as part:
        part.write_text(signatures(approvals, name).model_dump_json(indent=1), encoding="utf-8")
    write_trusted_entities(approvals, site.config.state_dir)
    typer.echo(f"send the hub {path}: it holds signatures and public keys only")
