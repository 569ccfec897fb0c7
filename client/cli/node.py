"""`rounds-site run` and `rounds-site healthy`: the hospital's node, started, kept running and looked at.

In: `site.yaml`. Out: a log on standard output, and exit statuses for whoever runs the container.
"""

import logging

import typer

from client.cli.arguments import DEFAULT_SITE, SiteFile
from client.node.supernode import is_healthy, run_node
from shared.config.files import read_site
from shared.terminal.command_line import examples

app = typer.Typer()


@app.command(epilog=examples("rounds-site run site.yaml", "rounds-site run /site/site.yaml"))
def run(site: SiteFile = DEFAULT_SITE) -> None:
    """Run the hospital's node until SIGTERM: it dials the hub, and is started again when it dies.

    It runs no code but bundles that this hospital signed with `rounds-site code approve`.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    run_node(read_site(site), site)


@app.command(epilog=examples("rounds-site healthy site.yaml"))
def healthy(site: SiteFile = DEFAULT_SITE) -> None:
    """Say whether the node runs; exit status 1 where not."""
    typer.echo(is_healthy(read_site(site)))
