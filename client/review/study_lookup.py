"""The study that a person means: that of a file, that in a parcel, or that which was approved here last.

In: what was typed, and site.yaml, which may lack everything but the hub that was joined. Out: the study.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from client.review.parcel_intake import not_joined, offered_study, trusted
from client.review.reviewed_documents import studies_folder, study_of
from client.site.site_rules import SiteRules
from shared.config.files import read_site, read_site_yaml, read_study
from shared.config.study import StudyConfig
from shared.errors import ConfigError
from shared.trust.parcel import is_parcel, opened_parcel
from shared.trust.parcel_seal import Trusted


def asked_study(site_file: Path, named: Path | None) -> StudyConfig:
    """Return the study of STUDY.yaml or of a parcel of this site's hub; without a name that approved here last.

    Errors: `ConfigError` where there is none; `TrustError` for a parcel that the hub of this site did not seal.
    """
    if named is None:
        return approved_last(SiteRules(read_site(site_file)))
    if not is_parcel(named):
        return read_study(named)
    with opened_parcel(named, _trusted_hub(site_file), datetime.now(UTC)) as parcel:
        return offered_study(parcel)


def approved_last(site: SiteRules) -> StudyConfig:
    """Return the study that is approved, kept here and not over, of several that approved last."""
    approved = [
        one.digest for one in site.approvals().entries if one.kind == "study" and one.decision == "approve"
    ]
    for digest in reversed(approved):
        if site.approves_study(digest) and (studies_folder(site) / f"{digest}.yaml").is_file():
            study = study_of(site, digest)
            if study.expires >= datetime.now(UTC).date():
                return study
    raise ConfigError(
        "STUDY is missing, and no study is approved and kept here; give the study's file or the hub's parcel, or take "
        "the parcel first with `rounds-site study take`"
    )


def _trusted_hub(site_file: Path) -> Trusted:
    """Return the hub that was joined, from a site.yaml whose other fields may not be filled in yet."""
    hub = read_site_yaml(site_file).get("hub")
    if not isinstance(hub, Mapping) or not {"address", "ca_file"} <= hub.keys():
        raise not_joined()
    return trusted(str(hub["address"]), Path(str(hub["ca_file"])))
