"""Does one picture stand in more than one place of a simulation? A division comes in, sentences with counts go out.

A test film that was also trained on, or one that the audit shares with a site, makes every figure too good: refused.
"""

from server.public_data.preparation import PUBLIC_SETS
from shared.data.patients import Patient
from shared.data.public_division import Division
from shared.data.same_pictures import Same, same_pictures
from shared.errors import DataError

JUDGES = ("reference", "test")  # what no trained picture may stand in


def copies_told(division: Division) -> tuple[str, ...]:
    """Say how many pictures stand under several patients or labels, by content.

    Errors: `DataError` where one of them is trained on, at the hub or at a site, and judges the student as well.
    """
    sets = {name: getattr(division, name) for name in PUBLIC_SETS}
    sets |= {
        f"site {site}": [one for one in some if one.split != "val"] for site, some in division.sites.items()
    }
    where: dict[str, set[str]] = {}
    for name, some in sets.items():
        for patient in some:
            where.setdefault(patient.patient_id, set()).add(name)
    found = same_pictures(_everybody(division))
    leaks = [one for one in found if _is_leak(one, where)]
    if leaks:
        first = " and ".join(str(record.file) for record in leaks[0].records[:2])
        raise DataError(
            f"{len(leaks)} pictures are trained on and stand in the reference or test set as well, under another "
            f"patient (first: {first}), allowed is one set for a picture; remove the copies or give them one patient_id"
        )
    people = sum(one.num_patients > 1 for one in found)
    labels = sum(one.num_labels > 1 for one in found)
    told = []
    if people:
        told.append(
            f"{people} pictures stand under more than one patient, by content: whoever is on them is protected as "
            "several people."
        )
    if labels:
        told.append(f"{labels} pictures stand under more than one label, by content.")
    return tuple(told)


def _everybody(division: Division) -> list[Patient]:
    public = [patient for name in PUBLIC_SETS for patient in getattr(division, name)]
    return [*public, *(patient for some in division.sites.values() for patient in some)]


def _is_leak(same: Same, where: dict[str, set[str]]) -> bool:
    sets = set().union(*(where.get(record.patient_id, set()) for record in same.records))
    return bool(sets & set(JUDGES)) and bool(sets - set(JUDGES))
