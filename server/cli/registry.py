"""`rounds-hub registry`: the service that offers app bundles and hospitals' signatures.

In: the registry's folder below the hub's. Out: a local service.
"""

from typing import Annotated

import typer
import uvicorn

from server.cli.code import registry_of
from server.cli.hub_option import DEFAULT_HUB, HubOption
from server.hub.bundle_registry_api import registry_app
from shared.terminal.command_line import examples

app = typer.Typer(help="The service that the SuperLink takes bundles from.", no_args_is_help=True)


@app.command(
    epilog=examples(
        "rounds-hub registry serve --hub hub",
        "FLWR_SUPERGRID_API_URL=http://127.0.0.1:9080 flower-superlink ...",
    )
)
def serve(
    hub: HubOption = DEFAULT_HUB,
    host: Annotated[str, typer.Option(help="address to listen on; the SuperLink alone asks")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 9080,
) -> None:
    """Serve bundles and signatures to the SuperLink, until interrupted."""
    uvicorn.run(registry_app(registry_of(hub)), host=host, port=port, log_level="warning", ws="none")
