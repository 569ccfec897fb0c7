"""Which of a hospital's patients can be used? A source comes in; patients and what is wrong with the others go out.

One patient's record never changes another patient, nor whether there is an answer: a record that cannot be used takes
its own patient out, whole, and is counted. What is no one record's fault (a folder that is gone, a column that is
missing) is an error all the same. Nothing of this leaves the hospital, least of all a count.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from shared.config.site_data import SiteData
from shared.config.study import Task
from shared.data.across import across
from shared.data.patients import SPLITS, Found, ImageRecord, LeftOut, Patient, Row, group_patients
from shared.data.sources import check_hospital_source, read_records
from shared.data.tables.csv_lines import unfit_text


@dataclass(frozen=True)
class HospitalPatients:
    """Patients sorted by identifier, the records that were left out, and how often each label was found."""

    patients: list[Patient]
    left_out: list[LeftOut]
    labels: Counter[str]  # in the hospital's own words, of the hospital's own records

    @property
    def problems(self) -> dict[str, int]:
        """Count by kind what was left out."""
        return dict(sorted(Counter(one.kind for one in self.left_out).items()))


def read_hospital(data: SiteData, task: Task) -> HospitalPatients:
    """Read a hospital's patients; nobody may be left, which only a check or an enrolment refuses.

    Errors: `DataError` for a source that cannot be read as a whole, or whose patients depend on each other.
    """
    check_hospital_source(data.source, data.dicom)
    found = read_records(data.source, task, data.dicom, data.naming)
    return sorted_out(found, task, data.source, site=data.site, label_map=data.label_map)


def sorted_out(
    found: Iterable[Found],
    task: Task,
    source: Path,
    *,
    site: str | None = None,
    label_map: Mapping[str, str] | None = None,
) -> HospitalPatients:
    """Sort patients whose every record can be used from records that cannot, each patient by its own records.

    With `site`, records of other sites are passed over, and records without a site are the hospital's own. A label
    that `label_map` maps to "" is left out without a word.
    """
    labels_of, home = label_map or {}, source.stem if site is None else site
    records: dict[str, list[ImageRecord]] = defaultdict(list)
    left_out: list[LeftOut] = []
    labels: Counter[str] = Counter()
    rows: list[Row] = []
    at_other: set[str] = set()
    for one in found:
        if site is not None and one.site not in {site, ""}:
            at_other.add(one.patient_id)
            left_out.append(LeftOut("other_site"))
            continue
        if isinstance(one, Row):
            labels[one.label] += 1
            rows.append(one)
        record = _record(one, task, labels_of) if isinstance(one, Row) else one
        if isinstance(record, LeftOut):
            left_out.append(record)
        elif record is not None:
            records[record.patient_id].append(replace(record, site=record.site or home))
    left_out += _spread(records, at_other)
    left_out += across(rows, source)
    barred = {one.patient_id for one in left_out}
    usable = (record for name, some in records.items() if name not in barred for record in some)
    return HospitalPatients(group_patients(usable), left_out, labels)


def _record(row: Row, task: Task, label_map: Mapping[str, str]) -> ImageRecord | LeftOut | None:
    """Return the row's record, why there is none, or None where the label map leaves it out."""
    if unfit_text(row.patient_id) or not row.patient_id:
        kind = "record_text" if row.patient_id else "record_no_patient"
        return LeftOut(kind, site=row.site, file=row.file)
    if row.split not in {*SPLITS, ""}:
        return LeftOut("record_split", row.patient_id, row.site, row.file)
    label = label_map.get(row.label, row.label)
    if label == "":
        return None if row.label in label_map else LeftOut("no_label", site=row.site, file=row.file)
    if label not in task.classes:
        return LeftOut("record_label", row.patient_id, row.site, row.file)
    return row.with_label(task.classes.index(label))


def _spread(records: Mapping[str, list[ImageRecord]], at_other: set[str]) -> list[LeftOut]:
    """Leave out each image of a patient who stands in two splits or at two sites."""
    found = []
    for patient_id, some in sorted(records.items()):
        if len({one.split for one in some}) > 1:
            found += [LeftOut("record_two_splits", patient_id, one.site, one.file) for one in some]
        elif patient_id in at_other or len({one.site for one in some}) > 1:
            found += [LeftOut("record_two_sites", patient_id, one.site, one.file) for one in some]
    return found
