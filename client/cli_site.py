"""What the hospital's commands of decisions share: the site they are about, and how it is opened."""

from pathlib import Path
from typing import Annotated

import typer

from client.site import Site
from shared.config_files import read_site
from shared.errors import ConfigError

SiteOption = Annotated[Path, typer.Option("--site", metavar="SITE.yaml", help="the hospital's configuration")]
DEFAULT_SITE = Path("site.yaml")


def open_site(path: Path) -> Site:
    """Open a hospital by its configuration; decisions are for real sites, made ones approve everything."""
    site = Site(read_site(path), simulation=False)
    if site.is_made:
        raise ConfigError(
            f"{path.name}: approved_studies is 'any-in-simulation', so nothing is decided here; a real site lists "
            "study digests, or none"
        )
    return site
