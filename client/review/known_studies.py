"""The studies that this hospital has to do with: approved, withdrawn, or only looked at.

In: the record of decisions, site.yaml, and the copies that `study show` and `study take` keep. Out: what is known of
each, for this hospital alone.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from client.review.reviewed_documents import is_digest, studies_folder, study_of
from client.site.site_rules import SiteRules
from shared.errors import ConfigError

MIN_PREFIX = 6  # digits


@dataclass(frozen=True)
class KnownStudy:
    """A study by its digest; without a copy here its name and end are not known."""

    digest: str
    decided: str
    name: str = ""
    expires: date | None = None

    def until(self, today: date) -> str:
        """Say until when it holds."""
        if self.expires is None:
            return "not kept here"
        return f"{self.expires}{', over' if self.expires < today else ''}"


def known_studies(site: SiteRules) -> Iterator[KnownStudy]:
    """Yield the studies in the order of the last decision on each, then those that nothing was decided on."""
    approvals = site.approvals()
    last = {one.digest: one for one in approvals.entries if one.kind == "study"}
    listed = () if site.is_made else site.config.approved_studies
    kept = sorted(path.stem for path in studies_folder(site).glob("*.yaml") if is_digest(path.stem))
    for digest in dict.fromkeys((*sorted(last, key=lambda one: last[one].number), *listed, *kept)):
        if digest in last:
            done = "approved" if last[digest].decision == "approve" else "withdrawn"
            decided = f"{done}, decision {last[digest].number}"
        else:
            decided = "approved in site.yaml" if digest in listed else "nothing yet"
        if digest in kept:
            study = study_of(site, digest)
            yield KnownStudy(digest, decided, study.name, study.expires)
        else:
            yield KnownStudy(digest, decided)


def study_digest(site: SiteRules, typed: str) -> str:
    """Return the digest that a person means by all of its digits, or by the first that no other study here has."""
    if is_digest(typed):
        return typed
    if not re.fullmatch(rf"[0-9a-f]{{{MIN_PREFIX},63}}", typed):
        raise ConfigError(
            f"DIGEST is {typed!r}, allowed are 64 digits of 0-9 and a-f, or the first {MIN_PREFIX} or more of a study "
            "that `rounds-site study list` shows"
        )
    found = [one.digest for one in known_studies(site) if one.digest.startswith(typed)]
    if len(found) != 1:
        which = "no study" if not found else f"{len(found)} studies"
        raise ConfigError(
            f"DIGEST is {typed!r}: {which} of `rounds-site study list` begin so; type more of its digits"
        )
    return found[0]
