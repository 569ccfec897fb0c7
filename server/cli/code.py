"""`rounds-hub code`: app bundles and hospitals' signatures.

In: bundles, and the files that hospitals send. Out: the registry's folder below the hub's.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from server.cli.hub_option import DEFAULT_HUB, HubOption
from server.hub.bundle_registry import Registry
from shared.config.strict_json import one_meaning
from shared.errors import ConfigError
from shared.terminal.command_line import examples

code_app = typer.Typer(
    help="Offer app bundles to the hospitals' nodes, with the hospitals' signatures.", no_args_is_help=True
)


@code_app.command(
    epilog=examples("flwr build --app .", "rounds-hub code add teaching-rounds.*.fab --hub hub")
)
def add(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE.fab", help="made by `flwr build`")],
    hub: HubOption = DEFAULT_HUB,
) -> None:
    """Add an app bundle; send the file to the hospitals, which decide on it."""
    found = registry_of(hub).add(bundle)
    app, version = found.app
    typer.echo(f"added: {app} {version}, sha256 {found.sha256}, code {found.code_digest}")
    typer.echo(f"start it with: flwr run {app}=={version}")


@code_app.command(
    "sign-in", epilog=examples("rounds-hub code sign-in north.signatures.json --pub north.pub --hub hub")
)
def sign_in(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="NAME.signatures.json, as the hospital sent it")
    ],
    pub: Annotated[
        Path, typer.Option("--pub", metavar="NAME.pub", help="the file that the hospital was admitted with")
    ],
    hub: HubOption = DEFAULT_HUB,
) -> None:
    """Take in a hospital's signatures, in place of those it sent before; a wrong or older file is refused."""
    found = registry_of(hub).sign_in(file, *_admitted(pub))
    typer.echo(f"signed in: {found.site}, {len(found.bundles)} bundles, decision {found.number}")


@code_app.command("list", epilog=examples("rounds-hub code list --hub hub"))
def list_bundles(hub: HubOption = DEFAULT_HUB) -> None:
    """List bundles and the hospitals whose nodes run them."""
    registry = registry_of(hub)
    for file in sorted((registry.folder / "bundles").glob("*.fab")):
        signed = [
            held.site for held in registry.signatures() for one in held.bundles if one.sha256 == file.stem
        ]
        typer.echo(f"{file.stem}  {', '.join(signed) or 'signed by nobody: every node refuses it'}")


def registry_of(hub: Path) -> Registry:
    """Open the registry below the hub's folder; `ConfigError` where there is no hub."""
    if not hub.is_dir():
        raise ConfigError(f"--hub is {str(hub)!r}: no such folder; make it with `rounds-hub init`")
    return Registry(hub / "registry")


def _admitted(pub: Path) -> tuple[str, str]:
    """Return the name and the approval key that a hospital was admitted with."""
    try:
        held = json.loads(one_meaning(pub.read_bytes()))
        return str(held["site"]), str(held["approval_key"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{pub.name}: holds no site and approval_key; give the file that `rounds-site init` made at the hospital"
        ) from error
