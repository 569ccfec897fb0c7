"""`rounds-hub serve` and `rounds-hub healthy`: the hub's processes, started, kept running and looked at.

In: the hub's folder. Out: a log on standard output, and exit statuses for whoever runs the container.
"""

import logging
from pathlib import Path
from typing import Annotated

import typer

from server import feed_commands, store_commands, study_commands
from server.cli_code import code_app, serve_app
from server.cli_hub import DEFAULT_HUB, HubArgument
from server.control import Control
from server.dashboard import commands as dashboard_commands
from server.dashboard import people_commands, token_commands
from server.dashboard.serve import Door, serve_results
from server.doors import Doors, absolute_store
from server.hub_folder import STORE_VARIABLE, open_hub
from server.hub_state import Node
from server.keeper import look_after
from server.services import SUPERLINK_PORT, Hub, is_healthy, let_send, serve
from server.superlink_nodes import align_nodes, node_states
from shared.command_line import examples, program

HUB_LISTEN = "0.0.0.0:8443"
app = program("The hub's services.")
app.add_typer(study_commands.app, name="study")
app.add_typer(store_commands.app, name="store")
app.add_typer(feed_commands.app, name="feed")
app.add_typer(code_app, name="code")
app.add_typer(serve_app, name="registry")
app.add_typer(people_commands.app, name="people")
app.add_typer(token_commands.app, name="token")
app.add_typer(dashboard_commands.app, name="dashboard")


@app.command(
    name="serve",
    epilog=examples(
        "rounds-hub serve hub",
        "rounds-hub serve /hub --listen 0.0.0.0:8443 --superlink-port 8000 --feed-listen 0.0.0.0:8444",
        "rounds-hub serve --results results/latest           # the audit of runs on this machine, no hub needed",
    ),
)
def serve_hub(
    folder: HubArgument = DEFAULT_HUB,
    results: Annotated[
        Path | None,
        typer.Option(help="a run's folder, or that of all runs: serve the dashboard of these, without a hub"),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(
            help=f"address:port at which sites reach the hub, {HUB_LISTEN} when not given; with --results that of "
            f"the dashboard, {dashboard_commands.LISTEN}"
        ),
    ] = None,
    superlink_port: Annotated[
        int, typer.Option(min=1024, max=65535, help="port of the SuperLink on this machine's loopback")
    ] = SUPERLINK_PORT,
    feed_listen: Annotated[
        str,
        typer.Option(
            help="address:port at which studies' records come in; studies elsewhere need another address"
        ),
    ] = feed_commands.FEED_LISTEN,
    store: Annotated[
        str | None,
        typer.Option(
            envvar=STORE_VARIABLE,
            help="URL or file of the audit store; HUB/audit/store.sqlite or RESULTS/store.sqlite when not given",
        ),
    ] = None,
    dashboard_listen: Annotated[
        str, typer.Option(help="address:port for browsers, with a hub; without TLS this machine's own alone")
    ] = dashboard_commands.LISTEN,
    certificate: dashboard_commands.Certificate = None,
    key: dashboard_commands.Key = None,
    proxy: dashboard_commands.ProxyAddress = "",
    name: dashboard_commands.Names = None,
    workers: dashboard_commands.Workers = 1,
) -> None:
    """Run the hub until SIGTERM: SuperLink and SuperExec on the loopback, nginx before them, audit feed and dashboard.

    What dies is started again; a study that was cut off is resumed. With --results it is only the dashboard, of runs
    that are finished or still going on. Certificate, key, proxy, name and workers are the dashboard's.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    readers = dashboard_listen if results is None else listen or dashboard_commands.LISTEN
    door = Door(readers, certificate, key, proxy, tuple(name or ()))
    if results is not None:
        serve_results(results, store, door, workers, typer.echo)
        return
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells each request to our own SuperLink
    hub = Hub(open_hub(folder).path)
    where = absolute_store(store) if store else hub.store()
    doors = Doors(listen or HUB_LISTEN, superlink_port, feed_listen, where, door, workers)

    def ready(superlink: str) -> None:
        with hub.sites() as sites:
            done = align_nodes(sites.admitted(), superlink, hub.ca_file.read_bytes())
        logging.getLogger("rounds.hub").info("registrations: %s", done)

    def tick(superlink: str) -> None:
        look_after(hub.studies, Control(superlink, hub.ca_file), lambda study: let_send(hub, doors, study))

    def nodes(superlink: str) -> dict[str, Node]:
        return node_states(superlink, hub.ca_file.read_bytes())

    serve(hub, doors, ready, tick, nodes)


@app.command(epilog=examples("rounds-hub healthy hub"))
def healthy(folder: HubArgument = DEFAULT_HUB) -> None:
    """Say whether all of the hub's processes run and the SuperLink answers; exit status 1 where not."""
    typer.echo(is_healthy(Hub(folder)))
