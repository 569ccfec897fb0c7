"""Who is left out of every later round: kept as keyed hashes, looked up one patient at a time.

In: identifiers as the hospital's data has them. Out: hashes under the site key, which never leaves; whoever has
neither key nor identifier learns nothing from them.
"""

import hashlib
import hmac
from collections.abc import Iterable

from client.consent.approvals_file import Entry
from shared.config.site import SiteConfig
from shared.data.dicom.source import safe_patient
from shared.data.patients import Patient
from shared.errors import ApprovalsError


def forgotten_name(site_key: bytes, patient_id: str) -> str:
    """Return what stands for a patient where nobody may be named: HMAC-SHA256, 64 hexadecimal digits."""
    return hmac.new(site_key, b"forgotten|" + patient_id.encode(), hashlib.sha256).hexdigest()


def key_mark(site_key: bytes) -> str:
    """Return what tells whether the site key is still the one that the hashes were made with."""
    return hmac.new(site_key, b"mark", hashlib.sha256).hexdigest()[:16]


def id_in_data(config: SiteConfig, patient_id: str) -> str:
    """Return the identifier as the readers know it: a DICOM PatientID goes by its digest."""
    return safe_patient(patient_id) if config.data.dicom is not None else patient_id


def left_in(patients: Iterable[Patient], forgotten: tuple[Entry, ...], site_key: bytes) -> list[Patient]:
    """Leave the forgotten out; each patient's own hash decides, so nobody else is moved.

    `ApprovalsError` where the site key is not the one the exclusions were made with: they would match nobody.
    """
    if any(one.key_mark != key_mark(site_key) for one in forgotten):
        raise ApprovalsError(
            "site.key is not the key that patients were forgotten under, so they could not be left out; put back the "
            "state folder's own site.key"
        )
    names = {one.digest for one in forgotten}
    return [one for one in patients if forgotten_name(site_key, one.patient_id) not in names]
