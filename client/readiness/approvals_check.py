"""Findings about approvals: are study and code approved here, and what may the cache still hold.

In: `site.yaml` and the record of decisions. Out: findings for the hospital; nothing leaves.
"""

from collections.abc import Iterator

from client.readiness.finding import Finding
from client.site.site import Site
from shared.code_digest import code_digest
from shared.config.study import StudyConfig


def approval_findings(site: Site, study: StudyConfig) -> Iterator[Finding]:
    """Yield what is to be said of study, code and cache; `ApprovalsError` where the record is altered or cut."""
    if site.is_made:
        sentence = 'approved_studies is "any-in-simulation": right for made sites only; a hospital decides for itself'
        yield Finding("warn", "approval", sentence)
    else:
        yield _study(site, study)
        yield _code(site)
    if num_purged := site.purge_targets():
        sentence = (
            f"targets of {num_purged} patients purged: their studies ended or are no longer approved, or the "
            "patients were forgotten"
        )
        yield Finding("ok", "target cache", sentence)


def _study(site: Site, study: StudyConfig) -> Finding:
    digest = study.digest()
    if site.approves_study(digest):
        return Finding("ok", "approval", f"study {digest} is approved")
    if site.approvals().is_approved("study", digest) is False:
        sentence = f"study {digest} was withdrawn here; approve it again with `rounds-site study approve`"
    else:
        sentence = (
            f"study {digest} is neither approved by `rounds-site study approve` nor listed in approved_studies; look "
            "at it with `rounds-site study show`, then approve it"
        )
    return Finding("fail", "approval", sentence)


def _code(site: Site) -> Finding:
    digest = code_digest()
    if site.approvals().allows_code(digest):
        return Finding("ok", "code", f"this program's code {digest} is in a bundle that is approved here")
    num_approved = len(site.approvals().approved_bundles())
    sentence = (
        f"{num_approved} bundles are approved here, none holds this program's code {digest}; look at the hub's "
        "bundle with `rounds-site code show`, then approve it"
    )
    # the node runs the hub's bundle, not this installation: other approved code may be right
    return Finding("warn" if num_approved else "fail", "code", sentence)
