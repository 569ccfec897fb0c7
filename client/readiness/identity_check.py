"""Is each person one patient at this hospital, and what was not read at all? Records come in, findings go out.

Looks across patients, which no round does: what it finds is told to people here and changes no patient's part. A person
under two identifiers is protected as two people, so the claim of privacy would hold for half of what is theirs.
"""

from collections.abc import Iterator

from client.readiness.finding import Finding
from shared.config.study import Task
from shared.data.hospital import HospitalPatients
from shared.data.image_problems import makes_unusable
from shared.data.images import refused_images
from shared.data.patients import Patient
from shared.data.same_pictures import Same, same_pictures
from shared.data.told import told_of

SETTLED = ("record_shared", "record_nobody", "record_rounded")  # a person must settle these before a study
LOOKED_AT = frozenset({"patient_alike", "unsplit", "other_format", "linked_folder", "no_label"})
HALF = "a person under two patient_ids is protected as two, so that privacy holds for only a part of what is theirs"


def identity_findings(found: HospitalPatients, task: Task) -> Iterator[Finding]:
    """Yield what is wrong between patients, by name and by content of files; read them once where two are alike."""
    told = told_of(found.left_out)
    settled = [kind for kind in SETTLED if told.kinds.get(kind)]
    for kind in settled:
        yield Finding("fail", "identity", told.sentence(kind))
    if told.kinds.get("patient_alike"):
        yield Finding("warn", "identity", told.sentence("patient_alike"))
    same = [one for one in _used_copies(found, task) if one.num_files > 1]  # one file is told above
    people = sum(one.num_patients > 1 for one in same)
    labels = sum(one.num_labels > 1 for one in same)
    splits = sum(len({record.split for record in one.records}) > 1 for one in same)
    if people:
        sentence = (
            f"{people} pictures stand under more than one patient, by content ({labels} of them under two labels, "
            f"{splits} in two splits): {HALF}; find them with `rounds-site refused` and leave each under one patient"
        )
        yield Finding("fail", "identity", sentence)
    elif labels:
        sentence = (
            f"{labels} pictures stand under two labels of one patient, by content; correct one of the labels "
            "(`rounds-site refused` lists them)"
        )
        yield Finding("warn", "identity", sentence)
    if not settled and not same and not told.kinds.get("patient_alike"):
        yield Finding("ok", "identity", "no file and no picture stands under two patients")


def _used_copies(found: HospitalPatients, task: Task) -> list[Same]:
    """Return pictures in several places less those that cannot be used, which contribute nothing to either patient."""
    groups = same_pictures(found.patients)
    files = {record for one in groups for record in one.records}
    patients = [Patient(record.patient_id, (record,)) for record in files]
    refused = {file for kind, file in refused_images(patients, task) if makes_unusable(kind)}
    kept = (Same(tuple(record for record in one.records if record.file not in refused)) for one in groups)
    return [one for one in kept if one.num_patients > 1 or one.num_labels > 1]


def passed_over_findings(found: HospitalPatients) -> Iterator[Finding]:
    """Yield by kind what was not read, or is worth a look, and counts towards nothing."""
    told = told_of(found.left_out)
    for kind in told.kinds:
        if not makes_unusable(kind) and kind != "patient_alike":
            yield Finding("warn" if kind in LOOKED_AT else "ok", "images", told.sentence(kind))
