"""The one door: everything that leaves the hospital goes through `Door.let_out`.

In: a release. Out: its canonical bytes, if the hospital allows its kind and it is exactly as declared.
Cohort sizes, losses, norms, paths, identifiers and exception texts have no form in `shared/messages/release_kinds.py`
and so no way out.
"""

from collections.abc import Mapping

from shared.config.site import SiteConfig
from shared.errors import ErrorCode, Refusal, StudyError, WeightsError
from shared.messages.releases import EnrolmentRelease, LedgerStatement, Release, check_release, encode_release


class Door:
    """Checks each release against the hospital's own rules."""

    def __init__(self, site: SiteConfig) -> None:
        self._site = site

    def let_out(
        self, release: Release, expected_arrays: Mapping[str, tuple[int, ...]] | None = None
    ) -> bytes:
        """Return the bytes that may be sent.

        `expected_arrays` names each array with its shape; None stands for no arrays. Raises
        `Refusal(RELEASE_NOT_ALLOWED)` for a kind that site.yaml does not allow, and `Refusal(FAILED)` for a
        release that is not exactly as declared: a fault of this program, said in one code whatever it was.
        """
        if release.kind not in self._site.allow_releases:
            raise Refusal(
                ErrorCode.RELEASE_NOT_ALLOWED,
                f"allow_releases in site.yaml has no {release.kind!r}; add it if this may leave the hospital",
            )
        try:
            check_release(release, expected_arrays)
            self._check_own(release)
            return encode_release(release)
        except (StudyError, WeightsError) as error:
            raise Refusal(ErrorCode.FAILED, f"{release.kind}: kept in, for {error}") from error

    def _check_own(self, release: Release) -> None:
        """Refuse what only this site can know to be wrong."""
        match release.fields:
            case EnrolmentRelease(site=name, declared_patients=declared):
                if declared != self._site.declared_patients:
                    raise StudyError(
                        "declared_patients is not the number typed in site.yaml; never send a count"
                    )
            case LedgerStatement(site=name, cap_epsilon=cap):
                if cap is not None and not self._site.show_cap:
                    raise StudyError("cap_epsilon is given, but show_cap is off in site.yaml; leave it out")
            case _:
                return
        if name != self._site.name:
            raise StudyError("site is not the name in site.yaml; use that name")
