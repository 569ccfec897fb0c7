"""What `code show` and `study take` print of an app bundle, for the person who decides on it.

In: the bundle, what this hospital approved before, the installed program. Out: lines for a terminal; nothing of the
bundle is run.
"""

from collections.abc import Iterator

from client.consent.approvals import Approvals
from client.review.bundle_review import changes, installed_files, unexpected_files, visible
from client.review.reviewed_documents import bundle_file, bundle_of
from client.site.site_rules import SiteRules
from shared.code_digest import code_digest
from shared.trust.app_bundle import Bundle


def bundle_lines(site: SiteRules, found: Bundle, *, diff: bool = False) -> Iterator[str]:
    """Yield a bundle's files, its digest, what differs from the last approved or installed code, and the decision."""
    approvals = site.approvals()
    for name, data in found.files.items():
        yield f"{len(data):>9}  {visible(name)}"
    app, version = found.app
    yield f"bundle   {visible(app)} {visible(version)}, {len(found.files)} files"
    yield f"sha256   {found.sha256}"
    same = "as" if found.code_digest == code_digest() else "other than"
    yield f"code     {found.code_digest}, {same} the installed program"
    for name in unexpected_files(found):
        yield f"LOOK AT  {visible(name)}: outside our packages; Python could import it in place of a library"
    yield from _changes(site, approvals, found, diff)
    yield f"decided  {_decided(approvals, found.sha256)}"


def _changes(site: SiteRules, approvals: Approvals, bundle: Bundle, diff: bool) -> Iterator[str]:
    others = [one.digest for one in approvals.approved_bundles() if one.digest != bundle.sha256]
    kept = [sha256 for sha256 in others if bundle_file(site, sha256).is_file()]
    if kept:
        before = bundle_of(site, kept[-1]).files
        yield f"compared with the bundle approved last, {kept[-1][:12]}:"
    else:
        before = installed_files(bundle)
        yield "compared with the installed program:"
    differing = changes(before, bundle.files)
    for one in differing:
        yield f"  {one.mark} {one.name}  +{one.added} -{one.removed}"
        for line in one.diff if diff else ():
            yield f"    {line}"
    if not differing:
        yield "  no difference"


def _decided(approvals: Approvals, digest: str) -> str:
    decided = approvals.is_approved("code", digest)
    return {None: "nothing yet: refused", True: "approved here", False: "withdrawn here: refused"}[decided]
