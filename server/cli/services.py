"""`rounds-hub serve`: the hub's processes, started and kept running.

In: the hub's folder. Out: a log on standard output.
"""

import logging
from pathlib import Path
from typing import Annotated

import typer

from server.cli.audit import feed as feed_commands
from server.cli.audit import reader_options as door_options
from server.cli.hub_option import DEFAULT_HUB, HubArgument
from server.dashboard.http.listen_address import Door
from server.flower.node_registration import align_nodes, node_states
from server.flower.run_control import Control
from server.hub.hub_folder import STORE_VARIABLE, open_hub
from server.hub.hub_state import Node
from server.services.listen_addresses import Doors, absolute_store, behind_own_proxy
from server.services.running_hub import Hub
from server.services.services import SUPERLINK_PORT, let_send, serve
from server.services.study_keeper import look_after
from shared.terminal.command_line import examples

HUB_LISTEN = "0.0.0.0:8443"
app = typer.Typer()


@app.command(
    name="serve",
    epilog=examples(
        "rounds-hub serve hub",
        "rounds-hub serve /hub --listen 0.0.0.0:8443 --superlink-port 8000 --feed-listen 0.0.0.0:8444",
        "rounds-hub serve hub --readers-listen 0.0.0.0:8446   # the dashboard for browsers elsewhere, by TLS",
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
            f"the dashboard, {door_options.LISTEN}"
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
    ] = door_options.LISTEN,
    readers_listen: Annotated[
        str,
        typer.Option(
            help="address:port at which browsers on other machines reach the dashboard, by TLS with the hub's own "
            "certificate: they trust the federation's CA, hub/ca/ca.crt"
        ),
    ] = "",
    certificate: door_options.Certificate = None,
    key: door_options.Key = None,
    proxy: door_options.ProxyAddress = "",
    name: door_options.Names = None,
    workers: door_options.Workers = 1,
) -> None:
    """Run the hub until SIGTERM: SuperLink and SuperExec on the loopback, nginx before them, audit feed and dashboard.

    What dies is started again; a study that was cut off is resumed. With --results it is only the dashboard, of runs
    that are finished or still going on. Certificate, key, proxy, name and workers are the dashboard's.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    pages = dashboard_listen if results is None else listen or door_options.LISTEN
    door = Door(pages, certificate, key, proxy, tuple(name or ()))
    if results is not None:
        from server.dashboard.serve import serve_results  # noqa: PLC0415 - a hub's supervisor makes no pages

        serve_results(results, store, door, workers, typer.echo)
        return
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells each request to our own SuperLink
    hub = Hub(open_hub(folder).path.resolve())  # services work in folders of their own
    where = absolute_store(store) if store else hub.store()
    if readers_listen:
        door = behind_own_proxy(door, hub.names())
    doors = Doors(listen or HUB_LISTEN, superlink_port, feed_listen, where, door, workers, readers_listen)

    def ready(superlink: str) -> None:
        with hub.sites() as sites:
            done = align_nodes(sites.admitted(), superlink, hub.ca_file.read_bytes())
        logging.getLogger("rounds.hub").info("registrations: %s", done)

    def tick(superlink: str) -> None:
        look_after(hub.studies, Control(superlink, hub.ca_file), lambda study: let_send(hub, doors, study))

    def nodes(superlink: str) -> dict[str, Node]:
        return node_states(superlink, hub.ca_file.read_bytes())

    serve(hub, doors, ready, tick, nodes)
