"""Class folders: a tree of images comes in, rows go out. Nothing of it leaves the hospital.

Layouts: <class>/*, <split>/<class>/*, COVID-QU-Ex (<split>/<class>/images/* with "lung masks" beside) and
LC25000 (lung_image_sets/<class>/*). The class is the nearest folder, the split any folder above it named
train, val or test. A `patients.csv` at the root (`shared/data/tables/grouping.py`) says which images are one person's.
"""

from collections.abc import Iterator
from pathlib import Path

from shared.config.naming import OURS, Naming
from shared.config.study import Task
from shared.data.patients import BY_PATTERN, IMAGE_SUFFIXES, Found, LeftOut, Row
from shared.data.tables.csv_lines import LINE_REFUSALS, exists, unfit_path
from shared.data.tables.grouping import GROUPING, Grouping, read_grouping
from shared.data.tables.identifiers import plain_identifier
from shared.data.tree import files_below
from shared.errors import DataError

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
MASK_FOLDERS = ("lung masks", "masks")  # beside "images"; the first that exists for the class counts
OTHER_FORMATS = frozenset({  # what people keep pictures in, and this reader does not take
    ".apng", ".avif", ".dcm", ".dib", ".dicom", ".eps", ".exr", ".gif", ".hdr", ".heic", ".heif",
    ".ima", ".img", ".j2c", ".j2k", ".jls", ".jp2", ".jpc", ".jpf", ".jpx", ".jxl", ".mha", ".mhd",
    ".nii", ".npy", ".npz", ".nrrd", ".pbm", ".pcx", ".pdf", ".pfm", ".pgm", ".pnm", ".ppm", ".psd",
    ".raw", ".svg", ".tga", ".webp", ".zip", ".gz",
})  # fmt: skip
NOT_IMAGES = frozenset({"lung masks", "masks", "infection masks", "lesions"})
# The second half of COVID-QU-Ex repeats images of the first with infection masks.
REPEATED_PART = "Infection Segmentation Data"
LC25000_CLASSES = frozenset({"lung_aca", "lung_n", "lung_scc", "colon_aca", "colon_n"})


def read_folder(root: Path, task: Task | None = None, naming: Naming = OURS) -> list[Found]:  # noqa: ARG001 - the readers' common shape
    """Read a tree of class folders; without `patients.csv` or a pattern the patient is <folders>/<file stem>.

    An image of COVID-QU-Ex always has its mask beside it; that it exists is looked at when it is loaded. Left out are
    images outside a class folder, missing from `patients.csv` or with a name of other bytes than UTF-8, folders that
    cannot be listed and lines of `patients.csv` that are none. An image under two patients counts for both, so that
    neither takes it from the other.
    Errors: `DataError` for a tree that cannot be listed, a `patients.csv` without its columns or beside a pattern.
    """
    grouping = read_grouping(root, naming.columns)
    if grouping is not None and naming.patient_pattern is not None:
        raise DataError(
            f"data.patient_pattern is given, and {root / GROUPING} names patients too, allowed is one of the two; "
            "remove data.patient_pattern"
        )
    left_out = [] if grouping is None else grouping.left_out
    images = (_rows(root, one, grouping, naming) if isinstance(one, Path) else [one] for one in _images(root))
    return [*left_out, *(found for some in images for found in some)]


def folder_notes(root: Path, task: Task, naming: Naming = OURS) -> tuple[str, ...]:  # noqa: ARG001 - the readers' common shape
    """Say what every report about this tree must tell."""
    notes = []
    folders = {path.parent.name for path in _images(root) if isinstance(path, Path)}
    if naming.patient_pattern is not None:
        notes.append(BY_PATTERN)
    elif read_grouping(root, naming.columns) is None:
        notes.append(
            "The folder names no patients (no patients.csv): each image counts as a patient, and privacy is "
            "then for one image."
        )
        if folders & LC25000_CLASSES:
            notes.append(
                "LC25000 holds about 20 turned and mirrored copies of each of 1,250 tiles: without a "
                "grouping by source tile in patients.csv, relatives stand on both sides of any split and "
                "scores are too high."
            )
    if (root / REPEATED_PART).is_dir():
        notes.append(f'"{REPEATED_PART}" repeats images and was left out.')
    return tuple(notes)


def _images(root: Path) -> Iterator[Path | LeftOut]:
    def enters(name: str) -> bool:
        return name.lower() not in NOT_IMAGES and name != REPEATED_PART

    for found in files_below(root, enters):
        if isinstance(found, LeftOut) or found.suffix.lower() in IMAGE_SUFFIXES:
            yield found
        elif found != root / GROUPING:
            kind = "other_format" if found.suffix.lower() in OTHER_FORMATS else "other_file"
            yield LeftOut(kind, file=found)


def _rows(root: Path, path: Path, grouping: Grouping | None, naming: Naming) -> list[Found]:
    """Return one image's row, for each patient that it is listed under, or why there is none."""
    relative = path.relative_to(root)
    above = relative.parts[:-1]
    paired = bool(above) and above[-1].lower() == "images"
    if paired:
        above = above[:-1]
    inside = bool(above) and above[-1].lower() not in SPLIT_NAMES
    if unfit := unfit_path(relative.as_posix()):
        return [LeftOut(unfit, file=path, refusal=LINE_REFUSALS[unfit].format(f"the folder {root}"))]
    by_pattern = naming.patient_pattern is not None
    if grouping is None:
        stem = f"{'/'.join(above)}/{path.stem}" if inside else ""
        patients = {naming.patient_of(relative.as_posix()) if by_pattern else stem}
    else:
        patients = grouping.patients.get(relative.as_posix(), set())
    if not inside:
        refusal = (
            f"{path} stands in no class folder, needed is <class>/<image> or <split>/<class>/<image>; move it"
        )
        return [LeftOut("record_place", one, file=path, refusal=refusal) for one in sorted(patients) or [""]]
    if not patients:
        refusal = f"patients.csv has no row for {relative.as_posix()}, needed is one each; add it"
        return [LeftOut("record_unlisted", file=path, refusal=refusal)]
    if patients == {""}:
        refusal = (
            f"data.patient_pattern fits no patient in {relative.as_posix()}, needed is one each; correct it"
        )
        return [LeftOut("record_no_patient", file=path, refusal=refusal)]
    split = next((SPLIT_NAMES[part.lower()] for part in reversed(above) if part.lower() in SPLIT_NAMES), "")
    mask = _mask(path) if paired else None
    is_named = by_pattern or grouping is not None
    return [
        Row(path, above[-1], "", one, split, mask, spelt=plain_identifier(one) if is_named else "")
        for one in sorted(patients)
    ]


def _mask(image: Path) -> Path | None:
    """Name the mask that must stand beside an `images` folder when its class has a mask folder."""
    for name in MASK_FOLDERS:
        folder = image.parent.parent / name
        if exists(folder) and folder.is_dir():
            return folder / f"{image.stem}.png"
    return None
