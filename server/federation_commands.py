"""`rounds-hub init`, `invite`, `admit`, `remove`, `sites`, `register`, `renew`, `backup`, `restore`.

In: what a coordinator typed, the files that sites sent. Out: files and tables on this machine, and registrations at
the hub's own SuperLink. Of these only FEDERATION.json is sent.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from server.authority import CA_DAYS, HUB_DAYS, Names
from server.hub_backup import back_up_hub, restore_hub
from server.hub_folder import HubFolder, make_hub, open_hub, renew, replace_authority, verify_hub
from server.superlink_nodes import LOCAL_SUPERLINK, SuperLinkAbsent, align_nodes
from shared.command_line import examples, passphrase_from, require_fingerprint
from shared.errors import ConfigError
from shared.fingerprint import words
from shared.introduction import read_introduction
from shared.private_files import PUBLIC, write_file

app = typer.Typer(no_args_is_help=True)
Hub = Annotated[
    Path, typer.Option("--hub", envvar="ROUNDS_HUB", help="the hub's folder, made by `rounds-hub init`")
]
Here = Path("hub")
SuperLink = Annotated[
    str | None,
    typer.Option(
        envvar="ROUNDS_SUPERLINK",
        help=f"host:port of the running SuperLink; {LOCAL_SUPERLINK} is tried when not given",
    ),
]
Dns = Annotated[
    list[str] | None, typer.Option("--dns", help="a name by which sites reach the hub; may be repeated")
]
Ip = Annotated[list[str] | None, typer.Option("--ip", help="an address by which they do; may be repeated")]
Days = Annotated[int, typer.Option(min=1, help="days that the hub's certificate holds")]
CaDays = Annotated[int, typer.Option(min=2, help="days that the CA holds")]
PassphraseFile = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help="file that holds the passphrase; asked for when not given"),
]


@app.command(
    epilog=examples(
        "rounds-hub init hub --name lungs --address hub.example.org:8000 --dns hub.example.org",
        "rounds-hub init hub --name lungs --address 192.0.2.7:8000 --ip 192.0.2.7 --days 90",
    )
)
def init(
    folder: Annotated[Path, typer.Argument(help="new folder of this hub")],
    name: Annotated[str, typer.Option(help="name of the federation, shown to every site")],
    address: Annotated[str, typer.Option(help="host:port that sites dial")],
    dns: Dns = None,
    ip: Ip = None,
    days: Days = HUB_DAYS,
    ca_days: CaDays = CA_DAYS,
) -> None:
    """Make the federation's CA, the hub's certificate for the names given, and the secrets."""
    hub = make_hub(folder, name, address, Names.of(dns or (), ip or ()), ca_days=ca_days, days=days)
    typer.echo(f"Made {hub.path}; back it up with `rounds-hub backup --hub {hub.path} FILE`.")
    _tell(hub, hub.invitation_file)


@app.command(epilog=examples("rounds-hub invite", "rounds-hub invite FEDERATION.json --hub hub"))
def invite(
    target: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="where to write a copy; shown only when not given")
    ] = None,
    hub: Hub = Here,
) -> None:
    """Write FEDERATION.json for a site, and show the words to read out to it."""
    opened = open_hub(hub)
    verify_hub(opened)
    if target is not None:
        write_file(target, opened.invitation().to_json(), mode=PUBLIC)
    _tell(opened, target or opened.invitation_file)


@app.command(
    epilog=examples("rounds-hub admit north.pub", "rounds-hub admit north.pub --name north --hub hub")
)
def admit(
    file: Annotated[Path, typer.Argument(metavar="SITE.pub", help="the file that the site sent")],
    name: Annotated[str | None, typer.Option(help="the name agreed on; the file must say the same")] = None,
    fingerprint: Annotated[
        str | None,
        typer.Option(help="what the site read out: 12 words or 64 digits; asked for when not given"),
    ] = None,
    hub: Hub = Here,
    superlink: SuperLink = None,
) -> None:
    """Let a site in: compare its fingerprint, write it down, register its node key at the running SuperLink."""
    opened, introduction = open_hub(hub), read_introduction(file)
    if name is not None and name != introduction.site:
        raise ConfigError(
            f"--name is {name!r}, the file says {introduction.site!r}; "
            "have the site make its keys under the name agreed on"
        )
    typer.echo(f"Site {introduction.site!r}, keys of {introduction.made}")
    require_fingerprint(introduction.fingerprint(), fingerprint, f"the site {introduction.site}")
    with opened.sites() as sites:
        new = sites.admit(introduction)
    typer.echo(f"{introduction.site} {'is admitted' if new else 'was admitted already'}.")
    _register(opened, superlink)


@app.command(epilog=examples("rounds-hub remove north"))
def remove(
    name: Annotated[str, typer.Argument(help="name of an admitted site")],
    hub: Hub = Here,
    superlink: SuperLink = None,
) -> None:
    """Put a site out, at once where the SuperLink runs here; its node key never comes back."""
    opened = open_hub(hub)
    with opened.sites() as sites:
        sites.remove(name)
    typer.echo(f"{name} is removed.")
    _register(opened, superlink)


@app.command(epilog=examples("rounds-hub register", "rounds-hub register --superlink 127.0.0.1:8000"))
def register(hub: Hub = Here, superlink: SuperLink = None) -> None:
    """Bring the running SuperLink's registrations in line with the admitted sites; safe to repeat."""
    _register(open_hub(hub), superlink or LOCAL_SUPERLINK)


@app.command(epilog=examples("rounds-hub sites", "rounds-hub sites --json --hub hub"))
def sites(
    hub: Hub = Here,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of a table")] = False,
) -> None:
    """List all sites ever admitted, and until when the CA and the hub's certificate hold."""
    opened = open_hub(hub)
    with opened.sites() as listed:
        rows = listed.all()
    ends = {"ca": opened.ca().not_valid_after_utc, "hub": opened.certificate().not_valid_after_utc}
    if as_json:
        certificates = {what: end.isoformat() for what, end in ends.items()}
        typer.echo(json.dumps({"sites": [vars(row) for row in rows], "certificates": certificates}, indent=1))
        return
    table = Table("site", "admitted", "removed", "fingerprint", box=None, pad_edge=False)
    for row in rows:
        table.add_row(
            *map(escape, (row.name, row.admitted[:10], (row.removed or "")[:10], row.fingerprint[:16]))
        )
    console = Console(highlight=False)
    (console if console.is_terminal else Console(highlight=False, width=160)).print(table)
    for what, end in ends.items():
        typer.echo(
            f"certificate of the {what} holds until {end:%Y-%m-%d} ({(end - datetime.now(UTC)).days} days)"
        )


@app.command(
    name="renew",
    epilog=examples(
        "rounds-hub renew                                    # before the certificate ends: sites need nothing",
        "rounds-hub renew --dns hub.example.org --address hub.example.org:8443",
        "rounds-hub renew --new-authority                    # CA key lost or stolen: every site joins again",
    ),
)
def renew_certificate(
    hub: Hub = Here,
    address: Annotated[str | None, typer.Option(help="a new host:port; tell the sites")] = None,
    dns: Dns = None,
    ip: Ip = None,
    days: Days = HUB_DAYS,
    new_authority: Annotated[
        bool, typer.Option("--new-authority", help="make a new CA too; every site joins again")
    ] = False,
    ca_days: CaDays = CA_DAYS,
) -> None:
    """Give the hub a new key and certificate; names stay as they are unless given. Then start the SuperLink anew."""
    opened = open_hub(hub)
    if new_authority:
        replace_authority(opened, ca_days=ca_days, days=days)
    if not new_authority or dns or ip or address:
        names = Names.of(dns or (), ip or ()) if dns or ip else None
        renew(opened, names=names, address=address, days=days)
    verify_hub(opened)
    typer.echo(f"The hub's certificate holds until {opened.certificate().not_valid_after_utc:%Y-%m-%d}.")
    typer.echo("Start the SuperLink anew to use it.")
    if new_authority or address:
        _tell(opened, opened.invitation_file)


@app.command(epilog=examples("rounds-hub backup /backup/hub-2026-11-20.sealed"))
def backup(
    target: Annotated[Path, typer.Argument(metavar="BACKUP", help="new file, on another machine's volume")],
    hub: Hub = Here,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Write CA, certificate, secrets and the list of sites into one sealed file."""
    number = back_up_hub(open_hub(hub), target, passphrase_from(passphrase_file, confirm=True))
    typer.echo(f"{target}: sealed, {number} admitted sites. Keep the passphrase elsewhere.")


@app.command(epilog=examples("rounds-hub restore /backup/hub-2026-11-20.sealed hub"))
def restore(
    source: Annotated[Path, typer.Argument(metavar="BACKUP", help="what `rounds-hub backup` wrote")],
    folder: Annotated[Path, typer.Argument(help="new or empty folder")],
    passphrase_file: PassphraseFile = None,
) -> None:
    """Put a hub back and check it. Sites removed since the backup must be removed again."""
    hub = restore_hub(source, folder, passphrase_from(passphrase_file, confirm=False))
    with hub.sites() as listed:
        names = [row.name for row in listed.admitted()]
    typer.echo(
        f"Put back {hub.path}; admitted: {', '.join(names) or 'none'}. Remove again who left since then."
    )


def _register(hub: HubFolder, superlink: str | None) -> None:
    """Tell the SuperLink; one that was not named and does not run here learns it when it starts."""
    with hub.sites() as listed:
        rows = listed.all()
    try:
        typer.echo(f"SuperLink: {align_nodes(rows, superlink or LOCAL_SUPERLINK, hub.ca_file.read_bytes())}.")
    except SuperLinkAbsent as error:
        if superlink is not None:
            raise SuperLinkAbsent(
                f"{error}; the list is written, `rounds-hub register` tells the SuperLink"
            ) from error
        typer.echo(
            f"No SuperLink at {LOCAL_SUPERLINK}: tell a running one with `rounds-hub register --superlink ...`."
        )


def _tell(hub: HubFolder, file: Path) -> None:
    invitation = hub.invitation()
    typer.echo(f"Send {file} to every site, and read these words out when it asks (fingerprint of the CA):")
    typer.echo(f"  {words(invitation.fingerprint)}")
    typer.echo(f"  SHA-256 {invitation.fingerprint}")
