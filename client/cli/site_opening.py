"""How the hospital's commands of decisions open the site they are about."""

from collections.abc import Mapping
from pathlib import Path

from client.site.site_rules import SiteRules
from shared.config.files import read_site, read_site_yaml
from shared.errors import ConfigError


def open_site(path: Path) -> SiteRules:
    """Open a hospital by its configuration; decisions are for real sites, made ones approve everything."""
    _require_filled_in(path)
    site = SiteRules(read_site(path))
    if site.is_made:
        raise ConfigError(
            f"{path.name}: approved_studies is 'any-in-simulation', so nothing is decided here; a real site lists "
            "study digests, or none"
        )
    return site


def _require_filled_in(path: Path) -> None:
    """Refuse a site.yaml as `rounds-site init` makes it; whatever else is wrong with one is told where it is read."""
    raw = read_site_yaml(path)
    data = raw.get("data")
    missing = [] if isinstance(data, Mapping) and data.get("source") else ["data.source"]
    missing += [] if raw.get("declared_patients") else ["declared_patients"]
    if missing:
        raise ConfigError(
            f"{path.name}: {' and '.join(missing)} not filled in yet; do it with `rounds-site setup`, which takes the "
            "hub's parcel as --study"
        )
