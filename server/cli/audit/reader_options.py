"""The options that say how readers reach the dashboard, as every command that starts one has them."""

from pathlib import Path
from typing import Annotated

import typer

LISTEN = "127.0.0.1:8470"
Listen = Annotated[str, typer.Option(help="address:port for browsers")]
Certificate = Annotated[Path | None, typer.Option(help="certificate chain for TLS, PEM")]
Key = Annotated[Path | None, typer.Option(help="its private key, PEM")]
ProxyAddress = Annotated[
    str, typer.Option("--proxy", help="address of a proxy that speaks TLS and passes on X-Forwarded-For")
]
Names = Annotated[
    list[str] | None,
    typer.Option("--name", help="host name that browsers use; may be repeated; others are refused"),
]
Workers = Annotated[int, typer.Option(min=1, max=4, help="processes that answer")]
