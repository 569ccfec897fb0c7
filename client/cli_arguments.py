"""What a person types at several of the hospital's commands: SITE.yaml, STUDY.yaml, ROW:HASH."""

from pathlib import Path
from typing import Annotated

import typer

from shared.errors import ConfigError

SiteFile = Annotated[Path, typer.Argument(metavar="SITE.yaml", help="the hospital's own configuration")]
StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="the study as the hub sends it")]
SiteOption = Annotated[
    Path, typer.Option("--site", metavar="SITE.yaml", help="the hospital's own configuration")
]
DEFAULT_SITE = Path("site.yaml")


def head_of(text: str) -> tuple[int, str]:
    """Read the head of a ledger as reports print it: the row's number and hash."""
    seq, _, digest = text.partition(":")
    if not seq.isdigit() or not digest:
        raise ConfigError(
            f"--head is {text!r}, allowed is ROW:HASH such as 8:3fa9...; copy it from the report"
        )
    return int(seq), digest
