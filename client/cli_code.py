"""`rounds-site code`: look at the hub's app bundles, approve them, withdraw the approval.

In: a bundle or its digest. Out: text for the person who decides, and two public files that follow from decisions.
"""

from pathlib import Path
from typing import Annotated

import typer

from client.approvals import Approvals
from client.cli_arguments import DEFAULT_SITE, SiteOption
from client.cli_site import open_site
from client.code_review import changes, installed_files, unexpected_files, visible
from client.code_signing import signatures, write_trusted_entities, write_whole
from client.kept_papers import bundle_file, bundle_of, is_digest
from client.site_rules import SiteRules
from shared.bundle import Bundle
from shared.code import code_digest
from shared.command_line import examples
from shared.errors import ConfigError

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
    found, approvals = bundle_of(opened, bundle), opened.approvals()
    for name, data in found.files.items():
        typer.echo(f"{len(data):>9}  {visible(name)}")
    app, version = found.app
    typer.echo(f"bundle   {visible(app)} {visible(version)}, {len(found.files)} files")
    typer.echo(f"sha256   {found.sha256}")
    same = "as" if found.code_digest == code_digest() else "other than"
    typer.echo(f"code     {found.code_digest}, {same} the installed program")
    for name in unexpected_files(found):
        typer.echo(
            f"LOOK AT  {visible(name)}: outside our packages; Python could import it in place of a library"
        )
    _show_changes(opened, approvals, found, diff)
    typer.echo(f"decided  {_decided(approvals, found.sha256)}")


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
    path = write_whole(
        site_file.parent / f"{name}.signatures.json", signatures(approvals, name).model_dump_json(indent=1)
    )
    write_trusted_entities(approvals, site.config.state_dir)
    typer.echo(f"send the hub {path}: it holds signatures and public keys only")


def _show_changes(site: SiteRules, approvals: Approvals, bundle: Bundle, diff: bool) -> None:
    others = [one.digest for one in approvals.approved_bundles() if one.digest != bundle.sha256]
    kept = [sha256 for sha256 in others if bundle_file(site, sha256).is_file()]
    if kept:
        before = bundle_of(site, kept[-1]).files
        typer.echo(f"compared with the bundle approved last, {kept[-1][:12]}:")
    else:
        before = installed_files(bundle)
        typer.echo("compared with the installed program:")
    differing = changes(before, bundle.files)
    for one in differing:
        typer.echo(f"  {one.mark} {one.name}  +{one.added} -{one.removed}")
        for line in one.diff if diff else ():
            typer.echo(f"    {line}")
    if not differing:
        typer.echo("  no difference")


def _decided(approvals: Approvals, digest: str) -> str:
    decided = approvals.is_approved("code", digest)
    return {None: "nothing yet: refused", True: "approved here", False: "withdrawn here: refused"}[decided]
