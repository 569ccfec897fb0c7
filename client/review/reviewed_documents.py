"""Bundles and studies that a person at the hospital has looked at, kept by digest.

In: a file, or the digest of one that was shown before. Out: what it holds. A digest alone is never approved: what is
approved lies here, so that it can be looked at again and compared with the next.
"""

import re
from pathlib import Path

from client.site.site_rules import SiteRules
from shared.config.files import read_study
from shared.config.study import StudyConfig
from shared.errors import ConfigError, DataError
from shared.trust.app_bundle import Bundle, read_bundle
from shared.whole_file import whole_file


def bundle_of(site: SiteRules, name: str) -> Bundle:
    """Return the bundle of a .fab file, which is then kept, or of the digest of a kept one."""
    if not is_digest(name):
        bundle = read_bundle(Path(name))
        keep_bundle(site, bundle)
        return bundle
    bundle = read_bundle(_kept(bundle_file(site, name), "bundle", "code show BUNDLE.fab"))
    if bundle.sha256 != name:
        raise DataError(f"bundle {name[:12]}: its kept copy was altered; give the .fab file again")
    return bundle


def keep_bundle(site: SiteRules, bundle: Bundle) -> None:
    """Keep a bundle that a person looks at."""
    kept = bundle_file(site, bundle.sha256)
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(bundle.content)


def bundle_file(site: SiteRules, sha256: str) -> Path:
    """Return where a bundle's copy lies, if it was shown here."""
    return site.config.state_dir / "bundles" / f"{sha256}.fab"


def study_of(site: SiteRules, name: str) -> StudyConfig:
    """Return the study of a YAML file, which is then kept, or of the digest of a kept one."""
    if not is_digest(name):
        study = read_study(Path(name))
        keep_study(site, study)
        return study
    path = _kept(studies_folder(site) / f"{name}.yaml", "study", "study show STUDY.yaml")
    study = read_study(path)
    if study.digest() != name:
        raise ConfigError(f"study {name[:12]}: its kept copy was altered; give the study's file again")
    return study


def keep_study(site: SiteRules, study: StudyConfig) -> None:
    """Keep a study that a person looks at."""
    folder = studies_folder(site)
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / f"{study.digest()}.yaml") as part:
        part.write_text(study.canonical_json(), encoding="utf-8")  # JSON is YAML


def studies_folder(site: SiteRules) -> Path:
    """Return where copies of studies lie."""
    return site.config.state_dir / "studies"


def is_digest(name: str) -> bool:
    """Tell a digest (64 hexadecimal digits) from a file name."""
    return re.fullmatch(r"[0-9a-f]{64}", name) is not None


def _kept(path: Path, what: str, command: str) -> Path:
    if not path.is_file():
        raise ConfigError(
            f"{what} {path.stem[:12]}: none with this digest was shown here; look at it first with `rounds-site "
            f"{command}`"
        )
    return path
