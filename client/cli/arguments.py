"""What a person types at several of the hospital's commands: SITE.yaml, STUDY.yaml, ROW:HASH, `--site-state`."""

from pathlib import Path
from typing import Annotated

import typer

from shared.config.files import parse_site, read_site_yaml
from shared.config.site import SiteConfig
from shared.errors import ConfigError

SiteFile = Annotated[Path, typer.Argument(metavar="SITE.yaml", help="the hospital's own configuration")]
StudyFile = Annotated[
    Path | None,
    typer.Argument(
        metavar="[STUDY]",
        help="the study's file or the hub's parcel; the study approved here last when not given",
    ),
]
SiteOption = Annotated[
    Path, typer.Option("--site", metavar="SITE.yaml", help="the hospital's own configuration")
]
SiteState = Annotated[
    Path | None,
    typer.Option("--site-state", help="ledgers of a simulation: the `sites` folder of its result folder"),
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


def site_config_of(path: Path, site_state: Path | None) -> SiteConfig:
    """Read a site file; a simulation keeps each site's state below one folder, as `client/app.py` says."""
    raw = read_site_yaml(path)
    if site_state is not None and "name" in raw:
        raw |= {
            "state_dir": str(site_state / str(raw["name"])),
            "head_file": str(site_state / "heads" / f"{raw['name']}.head"),
        }
    return parse_site(raw, path.name)
