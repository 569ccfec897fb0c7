"""Read a data source: a path and a task come in, patients sorted by identifier go out.

`read_source` is strict, for public sets and simulations: one wrong record is an error. Hospitals take
`shared/data/hospital.py`, where it costs its own patient and nobody else. A new kind of source is one more entry in
`KINDS`; DICOM, which takes rules of its own, stands beside it. Nothing read here leaves the hospital;
`describe_source` gives sentences without counts or names for reports.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shared.config.naming import OURS, Naming
from shared.config.site_data import DicomData
from shared.config.study import Task
from shared.data.across import across
from shared.data.dicom.source import dicom_notes, read_dicom
from shared.data.folder import folder_notes, read_folder
from shared.data.medmnist import medmnist_notes, read_medmnist
from shared.data.patients import Found, ImageRecord, LeftOut, Patient, Row, group_patients, strict_rows
from shared.data.tables.manifest import manifest_notes, read_manifest
from shared.data.told import Told, told_of
from shared.errors import DataError


@dataclass(frozen=True)
class Kind:
    """One kind of source: how to know it, how to read it, what to tell about it.

    `by_patient`: a patient's rows depend on no other patient's, so that one patient less changes nobody else.
    """

    fits: Callable[[Path], bool]
    read: Callable[[Path, Task, Naming], Sequence[Found]]
    notes: Callable[[Path, Task, Naming], tuple[str, ...]]
    by_patient: bool = True


def _beside(folder: Path) -> Path:
    return folder / "manifest.csv"


def _only_npz(folder: Path) -> Path | None:
    """Return the one .npz of a folder without folders in it; dropped among class folders it changes nothing."""
    try:
        beside = [path for path in folder.iterdir() if path.name[0] != "."] if folder.is_dir() else []
    except OSError:
        return None  # the reader of class folders says that it cannot be listed
    found = [path for path in beside if path.suffix == ".npz"]
    return found[0] if len(found) == 1 and not any(map(Path.is_dir, beside)) else None


KINDS: dict[str, Kind] = {
    "manifest": Kind(lambda p: p.is_file() and p.suffix.lower() == ".csv", read_manifest, manifest_notes),
    "folder with manifest": Kind(
        lambda p: _beside(p).is_file(),
        lambda p, task, naming: read_manifest(_beside(p), task, naming),
        lambda p, task, naming: manifest_notes(_beside(p), task, naming),
    ),
    "MedMNIST": Kind(
        lambda p: p.is_file() and p.suffix.lower() == ".npz",
        lambda p, task, _naming: read_medmnist(p, task),
        lambda p, task, _naming: medmnist_notes(p, task),
        by_patient=False,
    ),
    "folder with one MedMNIST file": Kind(
        lambda p: _only_npz(p) is not None,
        lambda p, task, _naming: read_medmnist(_only_npz(p) or p, task),
        lambda p, task, _naming: medmnist_notes(_only_npz(p) or p, task),
        by_patient=False,
    ),
    "class folders": Kind(Path.is_dir, read_folder, folder_notes),
}


def _dicom(rules: DicomData) -> Kind:
    """DICOM is the one kind that takes rules of its own; with them the source is nothing else."""
    return Kind(
        Path.exists,
        lambda path, _task, _naming: read_dicom(path, rules),
        lambda _path, _task, _naming: dicom_notes(rules),
    )


@dataclass(frozen=True)
class PublicPatients:
    """Patients of a strict reading, sorted by identifier, and what it passed over or tells of."""

    patients: list[Patient]
    told: Told


def read_source(
    source: Path,
    task: Task,
    *,
    site: str | None = None,
    label_map: Mapping[str, str] | None = None,
    dicom: DicomData | None = None,
) -> list[Patient]:
    """Read all patients of a source, or of one `site` of a manifest, sorted by identifier.

    With `dicom` the source is a folder or a list of DICOM files, read by these rules.

    A label is first looked up in `label_map`; what maps to "" is left out. A source without sites (class
    folders, MedMNIST) gets `site` as its name. Whether an image can be read is not looked at here.
    Errors: `DataError` for an unknown label, a patient in two splits or two sites, or a picture under two patients.
    """
    return read_public(source, task, site=site, label_map=label_map, dicom=dicom).patients


def read_public(
    source: Path,
    task: Task,
    *,
    site: str | None = None,
    label_map: Mapping[str, str] | None = None,
    dicom: DicomData | None = None,
) -> PublicPatients:
    """Read as `read_source` does, and count what is passed over."""
    found = read_records(source, task, dicom)
    rows = strict_rows(found)
    between = across(rows, source)
    strict_rows(between)
    told = [one for one in [*found, *between] if isinstance(one, LeftOut)]
    told += [
        LeftOut("no_label", file=row.file) for row in rows if not row.label and "" not in (label_map or {})
    ]
    records = [
        record for row in rows if (record := _labelled(row, task, label_map or {}, source)) is not None
    ]
    _refuse_spread(records, "split", source)
    _refuse_spread(records, "site", source)
    if site is not None:
        sites = sorted({record.site for record in records})
        if sites == [""]:
            records = [replace(record, site=site) for record in records]
        elif site not in sites:
            raise DataError(f"site is {site!r}, allowed in {source} is one of {', '.join(sites)}; correct it")
        else:
            records = [record for record in records if record.site == site]
    else:
        records = [record if record.site else replace(record, site=source.stem) for record in records]
    if not records:
        seen = "; ".join(told_of(told).sentences())
        raise DataError(
            f"source {source} holds no image of the study's classes; check the path and label_map (DICOM files "
            f"need data.dicom){'. Passed over: ' if seen else ''}{seen}"
        )
    return PublicPatients(group_patients(records), told_of(told))


def read_records(
    source: Path, task: Task, dicom: DicomData | None = None, naming: Naming = OURS
) -> Sequence[Found]:
    """Read a source's images as its reader finds them, with labels in the hospital's own words, and what is none.

    Errors: `DataError` for what is no one record's fault: a source that cannot be read, or lacks a column.
    """
    return _kind(source, dicom).read(source, task, naming)


def check_hospital_source(source: Path, dicom: DicomData | None = None) -> None:
    """Refuse a source whose reader looks across patients: privacy counts one patient more or less of it.

    Errors: `DataError`, also for a path that is no source.
    """
    if not _kind(source, dicom).by_patient:
        raise DataError(
            f"data.source is {source}, a raw MedMNIST .npz, whose rows are named and left out by looking at other "
            "rows, so that no privacy claim would hold; deal it to sites by the simulation, or write a manifest with "
            "file, index, split, label and patient_id"
        )


def describe_source(
    source: Path, task: Task, dicom: DicomData | None = None, naming: Naming = OURS
) -> tuple[str, ...]:
    """Say in sentences what every report about this source must tell; no counts, no names."""
    return _kind(source, dicom).notes(source, task, naming)


def patients_by_site(patients: Iterable[Patient]) -> dict[str, list[Patient]]:
    """Group patients by their site, sites and patients in sorted order."""
    sites: dict[str, list[Patient]] = defaultdict(list)
    for patient in patients:
        sites[patient.site].append(patient)
    return {site: sorted(sites[site], key=lambda p: p.patient_id) for site in sorted(sites)}


def _kind(source: Path, dicom: DicomData | None) -> Kind:
    if dicom is not None and source.exists():
        return _dicom(dicom)
    for kind in KINDS.values():
        if kind.fits(source):
            return kind
    raise DataError(
        f"source is {source}, allowed is a manifest .csv, a folder of class folders, in a simulation a MedMNIST .npz, "
        "or with data.dicom a folder or list of DICOM files; check that the path exists"
    )


def _labelled(row: Row, task: Task, label_map: Mapping[str, str], source: Path) -> ImageRecord | None:
    label = label_map.get(row.label, row.label)
    if label == "":
        return None
    if label not in task.classes:
        raise DataError(
            f"label is {row.label!r} in {source}, allowed is one of {', '.join(task.classes)}; add it to "
            'label_map (map it to "" to leave it out) or correct the data'
        )
    return row.with_label(task.classes.index(label))


def _refuse_spread(records: Iterable[ImageRecord], field: str, source: Path) -> None:
    seen: dict[str, set[str]] = defaultdict(set)
    for record in records:
        seen[record.patient_id].add(getattr(record, field))
    num_spread = sum(len(values) > 1 for values in seen.values())
    if num_spread:
        raise DataError(
            f"patient_id stands in more than one {field} for {num_spread} patients of {source}, allowed "
            f"is one {field} for all images of a patient; correct the {field} or the patient_id of their rows"
        )
