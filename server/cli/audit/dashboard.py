"""`rounds-hub dashboard`: the audit's pages over a store that others fill.

In: a store and how readers reach it. Out: a web server, until SIGTERM; and the table of who may use which address.
"""

import logging
from pathlib import Path
from typing import Annotated

import typer

from server.cli.audit.reader_options import LISTEN, Certificate, Key, Listen, Names, ProxyAddress, Workers
from server.cli.audit.store_option import StoreOption, usual_store
from server.dashboard.http.listen_address import Door
from server.dashboard.route_table import markdown, own_table
from server.dashboard.serve import serve_dashboard
from shared.terminal.command_line import examples, program

app = program("The audit dashboard.")


@app.callback()
def dashboard() -> None:
    """Serve the audit's pages."""


@app.command(
    epilog=examples(
        "rounds-hub dashboard serve",
        "rounds-hub dashboard serve --store postgresql://rounds@db/audit --listen 0.0.0.0:8470 "
        "--certificate audit.crt --key audit.key --name audit.example.org --workers 2",
    )
)
def serve(
    store: StoreOption = None,
    listen: Listen = LISTEN,
    certificate: Certificate = None,
    key: Key = None,
    proxy: ProxyAddress = "",
    name: Names = None,
    workers: Workers = 1,
    hub: Annotated[
        Path | None,
        typer.Option(
            envvar="ROUNDS_HUB", help="the hub's folder, for the page of its connections; it is only read"
        ),
    ] = None,
) -> None:
    """Serve the audit's pages until SIGTERM.

    The first start prints the one-time password of the first coordinator. Passwords cross a network by TLS only.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    door = Door(listen, certificate, key, proxy, tuple(name or ()))
    serve_dashboard(store or usual_store(), door, workers, typer.echo, hub)


@app.command(epilog=examples("rounds-hub dashboard routes"))
def routes() -> None:
    """Print who may use which address, as a table that is made from the application itself."""
    typer.echo(markdown(own_table()))
