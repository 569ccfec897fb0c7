"""How the hospital's commands of decisions open the site they are about."""

from pathlib import Path

from client.site_rules import SiteRules
from shared.config_files import read_site
from shared.errors import ConfigError


def open_site(path: Path) -> SiteRules:
    """Open a hospital by its configuration; decisions are for real sites, made ones approve everything."""
    site = SiteRules(read_site(path))
    if site.is_made:
        raise ConfigError(
            f"{path.name}: approved_studies is 'any-in-simulation', so nothing is decided here; a real site lists "
            "study digests, or none"
        )
    return site
