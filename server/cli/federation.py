"""`rounds-hub init`, `invite`, `renew`, `backup` and `restore`: the hub itself.

In: what a coordinator typed. Out: files on this machine. Of these only FEDERATION.json is sent.
"""

from pathlib import Path
from typing import Annotated

import typer

from server.cli.hub_option import DEFAULT_HUB, HubOption
from server.hub.certificates import CA_DAYS, HUB_DAYS, Names
from server.hub.hub_folder import HubFolder, make_hub, open_hub, renew, replace_authority, verify_hub
from server.services.hub_backup import back_up_hub, restore_hub
from shared.terminal.command_line import (
    EmptyFolder,
    KeptBackup,
    NewBackup,
    PassphraseFile,
    examples,
    passphrase_from,
    say_what_to_send,
)
from shared.trust.private_files import write_file
from shared.whole_file import PUBLIC

app = typer.Typer(no_args_is_help=True)
Dns = Annotated[
    list[str] | None, typer.Option("--dns", help="a name by which sites reach the hub; may be repeated")
]
Ip = Annotated[list[str] | None, typer.Option("--ip", help="an address by which they do; may be repeated")]
Days = Annotated[int, typer.Option(min=1, help="days that the hub's certificate holds")]
CaDays = Annotated[int, typer.Option(min=2, help="days that the CA holds")]


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


@app.command(
    epilog=examples(
        "rounds-hub invite",
        "rounds-hub invite FEDERATION.json --site north      # north then stands among the sites as invited",
    )
)
def invite(
    target: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="where to write a copy; shown only when not given")
    ] = None,
    hub: HubOption = DEFAULT_HUB,
    site: Annotated[
        list[str] | None, typer.Option("--site", help="name of a hospital that gets it; may be repeated")
    ] = None,
) -> None:
    """Write FEDERATION.json for a site, and show the words to read out to it."""
    opened = open_hub(hub)
    verify_hub(opened)
    with opened.sites() as listed:
        for name in site or ():
            listed.invite(name)
    if target is not None:
        write_file(target, opened.invitation().to_json(), mode=PUBLIC)
    _tell(opened, target or opened.invitation_file)


@app.command(
    name="renew",
    epilog=examples(
        "rounds-hub renew                                    # before the certificate ends: sites need nothing",
        "rounds-hub renew --dns hub.example.org --address hub.example.org:8443",
        "rounds-hub renew --new-authority                    # CA key lost or stolen: every site joins again",
    ),
)
def renew_certificate(
    hub: HubOption = DEFAULT_HUB,
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
def backup(target: NewBackup, hub: HubOption = DEFAULT_HUB, passphrase_file: PassphraseFile = None) -> None:
    """Write CA, certificate, secrets and the list of sites into one sealed file."""
    number = back_up_hub(open_hub(hub), target, passphrase_from(passphrase_file, confirm=True))
    typer.echo(f"{target}: sealed, {number} admitted sites. Keep the passphrase elsewhere.")


@app.command(epilog=examples("rounds-hub restore /backup/hub-2026-11-20.sealed hub"))
def restore(source: KeptBackup, folder: EmptyFolder, passphrase_file: PassphraseFile = None) -> None:
    """Put a hub back and check it. Sites removed since the backup must be removed again."""
    hub = restore_hub(source, folder, passphrase_from(passphrase_file, confirm=False))
    with hub.sites() as listed:
        names = [row.name for row in listed.admitted()]
    typer.echo(
        f"Put back {hub.path}; admitted: {', '.join(names) or 'none'}. Remove again who left since then."
    )


def _tell(hub: HubFolder, file: Path) -> None:
    fingerprint = hub.invitation().fingerprint
    say_what_to_send(file, "every site", fingerprint, "the CA")
    typer.echo(f"  SHA-256 {fingerprint}")
