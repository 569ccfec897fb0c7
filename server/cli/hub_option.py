"""What the hub's commands share: the folder they are about."""

from pathlib import Path
from typing import Annotated

import typer

_HELP = "the hub's folder, made by `rounds-hub init`"
HubOption = Annotated[Path, typer.Option("--hub", envvar="ROUNDS_HUB", help=_HELP)]
HubArgument = Annotated[Path, typer.Argument(envvar="ROUNDS_HUB", help=_HELP)]
DEFAULT_HUB = Path("hub")
