"""Divide data by patient, once: patients of all sites come in, public sets and site patients go out.

The public sets (cohort, reference, test) are the hub's; the rest stays with its site. Each choice is a hash
of the patient's identifier, so no patient's place depends on another's.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from shared.data.patients import Patient
from shared.data.tables.manifest import manifest_digest, write_manifest
from shared.errors import DataError

__all__ = ["Division", "divide_public", "manifest_digest", "patient_overlap", "write_manifest"]

TEST_SHARE, VAL_SHARE = 0.2, 0.1  # of patients whose source names no split


@dataclass(frozen=True)
class Division:
    """Disjoint sets of patients; `sites` hold train and val patients only."""

    cohort: list[Patient]  # teacher, warm start, adapters
    reference: list[Patient]  # audit only
    test: list[Patient]  # figures only
    sites: dict[str, list[Patient]]


def divide_public(
    patients_by_site: Mapping[str, Sequence[Patient]],
    *,
    cohort_fraction: float,
    public_site: str | None,
    reference_fraction: float = 0.5,
) -> Division:
    """Divide patients into public sets and sites.

    Cohort: all train patients of `public_site` if one is named (its val patients are then unused), otherwise
    about `cohort_fraction` of each site's train patients, taken away from the site. Test patients: about
    `reference_fraction` of them reference, the others test. Val patients stay at their site. A patient without a
    split gets one by hash (70 % train, 10 % val, 20 % test).
    Errors: `DataError` for an unknown public site, a fraction outside 0..1, or an identifier used twice.
    """
    if not 0 <= cohort_fraction <= 1:
        raise DataError(f"cohort_fraction is {cohort_fraction:g}, allowed is 0 to 1; correct it")
    if public_site is not None and public_site not in patients_by_site:
        raise DataError(
            f"public_site is {public_site!r}, allowed is one of {', '.join(sorted(patients_by_site))}; "
            "correct it"
        )
    division = Division([], [], [], {site: [] for site in sorted(patients_by_site) if site != public_site})
    for site in sorted(patients_by_site):
        for patient in (_with_split(patient) for patient in patients_by_site[site]):
            if patient.split == "test":
                is_reference = _share("test half", patient) < reference_fraction
                (division.reference if is_reference else division.test).append(patient)
            elif public_site is not None and site == public_site:
                if patient.split == "train":
                    division.cohort.append(patient)
            elif (
                patient.split == "train"
                and public_site is None
                and _share("cohort", patient) < cohort_fraction
            ):
                division.cohort.append(patient)
            else:
                division.sites[site].append(patient)
    overlap = patient_overlap(division.cohort, division.reference, division.test, *division.sites.values())
    if overlap:
        raise DataError(
            f"patient_id is used in more than one set for {overlap} patients, allowed is one; make "
            "identifiers differ between sites"
        )
    return division


def patient_overlap(*sets: Sequence[Patient]) -> int:
    """Count identifiers that stand in more than one of the sets (twice in one set counts too)."""
    counts = Counter(patient.patient_id for patients in sets for patient in patients)
    return sum(count > 1 for count in counts.values())


def _with_split(patient: Patient) -> Patient:
    if patient.split:
        return patient
    share = _share("split", patient)
    split = "test" if share < TEST_SHARE else "val" if share < TEST_SHARE + VAL_SHARE else "train"
    return replace(patient, images=tuple(replace(image, split=split) for image in patient.images))


def _share(purpose: str, patient: Patient) -> float:
    """Draw a number in 0..1 from the patient's identifier, independent between purposes."""
    digest = hashlib.blake2b(f"{purpose}\0{patient.patient_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64
