"""`rounds-hub admit`, `remove`, `register` and `sites`: who belongs to the federation.

In: what a coordinator typed, the files that sites sent. Out: the list of sites, tables, and registrations at the hub's
own SuperLink. Nothing of it is sent.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from server.cli_hub import DEFAULT_HUB, HubOption
from server.hub_folder import HubFolder, open_hub
from server.sites import AdmittedSite
from server.superlink_nodes import LOCAL_SUPERLINK, SuperLinkAbsent, align_nodes, node_states
from shared.command_line import AsJson, Fingerprint, examples, require_fingerprint
from shared.errors import ConfigError
from shared.introduction import read_introduction
from shared.tables import plain_table, wide_console

app = typer.Typer(no_args_is_help=True)
SuperLink = Annotated[
    str | None,
    typer.Option(
        envvar="ROUNDS_SUPERLINK",
        help=f"host:port of the running SuperLink; {LOCAL_SUPERLINK} is tried when not given",
    ),
]


@app.command(
    epilog=examples("rounds-hub admit north.pub", "rounds-hub admit north.pub --name north --hub hub")
)
def admit(
    file: Annotated[Path, typer.Argument(metavar="SITE.pub", help="the file that the site sent")],
    name: Annotated[str | None, typer.Option(help="the name agreed on; the file must say the same")] = None,
    fingerprint: Fingerprint = None,
    hub: HubOption = DEFAULT_HUB,
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
    hub: HubOption = DEFAULT_HUB,
    superlink: SuperLink = None,
) -> None:
    """Put a site out, at once where the SuperLink runs here; its node key never comes back."""
    opened = open_hub(hub)
    with opened.sites() as sites:
        sites.remove(name)
    typer.echo(f"{name} is removed.")
    _register(opened, superlink)


@app.command(epilog=examples("rounds-hub register", "rounds-hub register --superlink 127.0.0.1:8000"))
def register(hub: HubOption = DEFAULT_HUB, superlink: SuperLink = None) -> None:
    """Bring the running SuperLink's registrations in line with the admitted sites; safe to repeat."""
    _register(open_hub(hub), superlink or LOCAL_SUPERLINK)


@app.command(epilog=examples("rounds-hub sites", "rounds-hub sites --json --hub hub"))
def sites(
    hub: HubOption = DEFAULT_HUB,
    as_json: AsJson = False,
    superlink: SuperLink = None,
) -> None:
    """List all sites ever admitted, who is connected now, and until when the certificates hold."""
    opened = open_hub(hub)
    with opened.sites() as listed:
        rows = listed.all()
    states = _states(opened, superlink)
    ends = {"ca": opened.ca().not_valid_after_utc, "hub": opened.certificate().not_valid_after_utc}
    if as_json:
        certificates = {what: end.isoformat() for what, end in ends.items()}
        shown = [vars(row) | {"connection": _connection(row, states)} for row in rows]
        typer.echo(json.dumps({"sites": shown, "certificates": certificates}, indent=1))
        return
    cells = (
        (
            row.name,
            row.admitted[:10],
            (row.removed or "")[:10],
            _connection(row, states),
            row.fingerprint[:16],
        )
        for row in rows
    )
    columns = ("site", "admitted", "removed", "connection", "fingerprint")
    wide_console().print(plain_table(columns, cells))
    for what, end in ends.items():
        typer.echo(
            f"certificate of the {what} holds until {end:%Y-%m-%d} ({(end - datetime.now(UTC)).days} days)"
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


def _states(hub: HubFolder, superlink: str | None) -> dict[str, str] | None:
    """Ask the SuperLink who is connected; None where none runs at the usual place."""
    try:
        return node_states(superlink or LOCAL_SUPERLINK, hub.ca_file.read_bytes())
    except SuperLinkAbsent:
        if superlink is not None:
            raise
        return None


def _connection(row: AdmittedSite, states: dict[str, str] | None) -> str:
    if row.removed is not None:
        return ""
    return "not asked" if states is None else states.get(row.name, "not registered")
