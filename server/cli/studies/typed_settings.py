"""`--set field=value`: fields of a study as a coordinator types them."""

import json
from typing import Annotated

import typer

from shared.errors import ConfigError

SetOption = Annotated[list[str] | None, typer.Option("--set", help="field=value of the study")]


def typed_settings(given: list[str]) -> dict[str, str | int | float | bool]:
    """Read `field=value`; values are JSON where they can be, else text. A field stands once."""
    settings: dict[str, str | int | float | bool] = {}
    for one in given:
        key, sign, value = one.partition("=")
        if not sign or not key:
            raise ConfigError(f"--set is {one!r}, allowed is field=value such as federation.rounds=6")
        if key in settings:
            raise ConfigError(f"--set names {key} twice, allowed is once; leave one of the two out")
        try:
            read = json.loads(value)
        except (ValueError, RecursionError):
            read = value
        settings[key] = read if isinstance(read, str | int | float | bool) else value
    return settings
