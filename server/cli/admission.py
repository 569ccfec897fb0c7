"""`rounds-hub admit`, `remove`, `register` and `sites`: who belongs to the federation.

In: what a coordinator typed, the files that sites sent. Out: the list of sites, tables, and registrations at the hub's
own SuperLink. Nothing of it is sent.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from server.cli.hub_option import DEFAULT_HUB, HubOption
from server.connections.connections import gather
from server.connections.statements import COLUMNS, connection_lines, connection_rows, connections_json
from server.flower.node_registration import LOCAL_SUPERLINK, SuperLinkAbsent, align_nodes, node_states
from server.hub.hub_folder import HubFolder, open_hub
from server.hub.hub_state import HubState, read_hub_state
from shared.errors import ConfigError
from shared.terminal.command_line import AsJson, Fingerprint, examples, require_fingerprint
from shared.terminal.tables import plain_table, wide_console
from shared.trust.site_introduction import read_introduction

app = typer.Typer(no_args_is_help=True)
SuperLink = Annotated[
    str | None,
    typer.Option(
        envvar="ROUNDS_SUPERLINK",
        help=f"host:port of the running SuperLink; when not given that of the running hub, else {LOCAL_SUPERLINK}",
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
    opened = open_hub(hub)
    _register(opened, superlink or read_hub_state(opened).superlink or LOCAL_SUPERLINK)


@app.command(epilog=examples("rounds-hub sites", "rounds-hub sites --json --hub hub"))
def sites(
    hub: HubOption = DEFAULT_HUB,
    as_json: AsJson = False,
    superlink: SuperLink = None,
) -> None:
    """List all sites ever admitted or invited: who is connected, what each approved, what is missing, whose turn it is.

    The dashboard's page Connections shows the same. Without --superlink it is what the running hub last saw.
    """
    opened = open_hub(hub)
    found = gather(opened, state=_asked(opened, superlink))
    if as_json:
        typer.echo(json.dumps(connections_json(found), indent=1))
        return
    wide_console().print(plain_table(COLUMNS, connection_rows(found)))
    for line in connection_lines(found):
        typer.echo(line)


def _asked(hub: HubFolder, superlink: str | None) -> HubState | None:
    """Ask a SuperLink that was named who is connected; None: the hub's own services have written it down."""
    if superlink is None:
        return None
    nodes = node_states(superlink, hub.ca_file.read_bytes())
    return HubState(serves=True, as_of=datetime.now(UTC), superlink=superlink, nodes=nodes)


def _register(hub: HubFolder, superlink: str | None) -> None:
    """Tell the SuperLink; one that was not named and does not run here learns it when it starts."""
    with hub.sites() as listed:
        rows = listed.all()
    address = superlink or read_hub_state(hub).superlink or LOCAL_SUPERLINK
    try:
        typer.echo(f"SuperLink: {align_nodes(rows, address, hub.ca_file.read_bytes())}.")
    except SuperLinkAbsent as error:
        if superlink is not None:
            raise SuperLinkAbsent(
                f"{error}; the list is written, `rounds-hub register` tells the SuperLink"
            ) from error
        typer.echo(
            f"No SuperLink at {address}: tell a running one with `rounds-hub register --superlink ...`."
        )
