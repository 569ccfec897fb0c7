"""`rounds-site init`, `join`, `keys`, `backup`, `restore`: how a hospital comes into a federation and stays itself.

In: what a person typed, the file that the hub sent. Out: files on this machine. Of these only NAME.pub is sent.
"""

from pathlib import Path
from typing import Annotated

import typer

from client.cli.arguments import DEFAULT_SITE, SiteFile, SiteOption
from client.consent.key_rotation import replace_both_keys
from client.identity.site_backup import back_up_site, missing_weights, restore_site, too_large
from client.identity.site_folder import SITE_FILE, join_federation, make_site, write_introduction
from client.identity.site_keys import replace_node_key, site_introduction
from client.ledger.ledger_file import LedgerFile
from shared.config.files import read_site, read_site_yaml
from shared.errors import ConfigError
from shared.terminal.command_line import (
    EmptyFolder,
    Fingerprint,
    KeptBackup,
    NewBackup,
    PassphraseFile,
    examples,
    passphrase_from,
    require_fingerprint,
    say_what_to_send,
)
from shared.trust.hub_invitation import read_invitation
from shared.trust.private_files import open_to_others
from shared.trust.site_introduction import Introduction

app = typer.Typer(no_args_is_help=True)
keys_app = typer.Typer(
    help="The hospital's keys: show their public halves, make new ones.", no_args_is_help=True
)


@app.command(epilog=examples("rounds-site init /site --name north"))
def init(
    folder: Annotated[
        Path, typer.Argument(help="new folder of this site; mount its head/ from another volume")
    ],
    name: Annotated[str, typer.Option(help="name of the site: letters, digits, - and _; known to all sites")],
) -> None:
    """Make the site's keys, a site.yaml to fill in, and NAME.pub for the hub. The private keys never leave."""
    introduction = make_site(folder, name)
    typer.echo(f"Made {folder / SITE_FILE}; fill in data.source and declared_patients.")
    _tell(folder / f"{name}.pub", introduction)


@app.command(
    epilog=examples(
        "rounds-site join FEDERATION.json",
        "rounds-site join FEDERATION.json --site /site/site.yaml",
        "rounds-site join FEDERATION.json --replace    # the federation announced a new CA",
    )
)
def join(
    federation: Annotated[Path, typer.Argument(metavar="FEDERATION.json", help="the file that the hub sent")],
    site: SiteOption = DEFAULT_SITE,
    fingerprint: Fingerprint = None,
    replace: Annotated[bool, typer.Option(help="believe a new CA in place of the one joined before")] = False,
) -> None:
    """Believe this hub from now on: compare its fingerprint, keep its CA, fill in `hub` in site.yaml."""
    invitation = read_invitation(federation)
    typer.echo(f"Federation {invitation.federation!r} at {invitation.address}")
    require_fingerprint(invitation.fingerprint, fingerprint, "the hub")
    join_federation(site, invitation, replace=replace)
    typer.echo(f"Joined: hub in {site} is filled in.")


@keys_app.command(epilog=examples("rounds-site keys show site.yaml"))
def show(site: SiteFile = DEFAULT_SITE) -> None:
    """Show the public keys and the fingerprint that the hub compares; writes NAME.pub again where it is missing."""
    name, keys_dir = _keys_of(site)
    introduction = site_introduction(keys_dir, name)
    if not (site.parent / f"{name}.pub").is_file():
        write_introduction(site.parent, keys_dir, name)
    typer.echo(f"node key      {introduction.node_key}\napproval key  {introduction.approval_key}")
    loose = [path.name for path in sorted(keys_dir.glob("*.key")) if open_to_others(path)]
    if loose:
        typer.echo(f"Warning: other accounts may read {', '.join(loose)}; chmod 600 them.", err=True)
    _tell(site.parent / f"{name}.pub", introduction)


@keys_app.command(
    epilog=examples(
        "rounds-site keys new site.yaml               # the node key was lost or stolen",
        "rounds-site keys new site.yaml --approval    # the approval key was, or both",
    )
)
def new(
    site: SiteFile,
    approval: Annotated[
        bool,
        typer.Option("--approval", help="make a new approval key too; it vouches for the decisions so far"),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Make a new node key (or both keys) and NAME.pub; the site stays out until the hub has admitted it again."""
    name, keys_dir = _keys_of(site)
    if not yes:
        typer.confirm("The old key is destroyed, and the hub must admit this site again. Go on?", abort=True)
    if approval:
        raw = read_site_yaml(site)
        head_file = Path(str(raw["head_file"])).with_suffix(".approvals")
        carried = replace_both_keys(keys_dir, Path(str(raw["state_dir"])), head_file)
        if carried:
            typer.echo(
                f"{carried} decisions carried over. Look at them (`rounds-site code list`), then approve a bundle "
                "again to write the new signatures for the hub."
            )
    else:
        replace_node_key(keys_dir)
    introduction = write_introduction(site.parent, keys_dir, name)
    typer.echo(f"Have the hub do `rounds-hub remove {name}`, then admit the new file.")
    _tell(site.parent / f"{name}.pub", introduction)


@app.command(epilog=examples("rounds-site backup site.yaml /backup/north-2026-11-20.sealed"))
def backup(site: SiteFile, target: NewBackup, passphrase_file: PassphraseFile = None) -> None:
    """Write keys, rules, ledger, partitions and weights into one sealed file. The head file stays out on purpose."""
    config = read_site(site)
    rows = back_up_site(site, config, target, passphrase_from(passphrase_file, confirm=True))
    typer.echo(f"{target}: sealed, with a ledger of {rows} rows. Keep the passphrase elsewhere.")
    for path in too_large(config):
        typer.echo(f"Not in it, for it is large: {path}; keep a copy, or the parcel that it came in.")


@app.command(epilog=examples("rounds-site restore /backup/north-2026-11-20.sealed /site"))
def restore(source: KeptBackup, folder: EmptyFolder, passphrase_file: PassphraseFile = None) -> None:
    """Put a site back; exit status 1 where its ledger is older than the head file knows, for then it may not go on."""
    site = restore_site(source, folder, passphrase_from(passphrase_file, confirm=False))
    config = read_site(site)
    typer.echo(f"Put back {site}.")
    for field, path, here in (
        ("state_dir", config.state_dir, folder / "state"),
        ("keys_dir", config.keys_dir, folder / "keys"),
    ):
        if path is not None and path.absolute() != here.absolute():
            raise ConfigError(
                f"{field} is {str(path)!r} in site.yaml, the files are now in {str(here)!r}; "
                "move them, or correct the field"
            )
    ledger = config.state_dir / "ledger.sqlite"
    if ledger.is_file():
        rows = LedgerFile(ledger, config.head_file).verify()
        typer.echo(f"The ledger is whole and the newest: {rows} rows.")
    for missing in missing_weights(config):
        typer.echo(
            f"Not there: {missing}; copy it there from {folder / 'weights'}, or take its parcel again."
        )


def _keys_of(site: Path) -> tuple[str, Path]:
    """Return name and keys_dir; the other fields may still be empty."""
    raw = read_site_yaml(site)
    name, keys_dir = raw.get("name"), raw.get("keys_dir")
    if not isinstance(name, str) or not isinstance(keys_dir, str):
        raise ConfigError(
            f"name and keys_dir: are not both given in {site.name}; make the site with `rounds-site init`"
        )
    return name, Path(keys_dir)


def _tell(file: Path, introduction: Introduction) -> None:
    say_what_to_send(file, "the hub", introduction.fingerprint(), "name and keys")
