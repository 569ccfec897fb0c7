"""DICOM files of a hospital: a folder with everything below it, or a list, comes in; rows go out.

Headers are read without pixels and only for the tags that are asked for. What stays of one is a label and a digest of
its PatientID; dates, UIDs, accession numbers and free text never get out of this file and `dicom_labels.py`.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator
from functools import partial
from pathlib import Path

from pydicom import dcmread
from pydicom.multival import MultiValue

from shared.config.site_data import DicomData, tag_number
from shared.data.dicom.labels import KEYWORDS, UNCLEAR, fits, labels_by
from shared.data.dicom.limits import check_dicom_file
from shared.data.dicom.picture import is_dicom, parsed
from shared.data.image_problems import ImageError
from shared.data.patients import Found, LeftOut, Row
from shared.data.tables.csv_lines import LINE_REFUSALS, beside, read_names, read_table, unfit_path
from shared.data.tables.identifiers import names_nobody, plain_identifier
from shared.data.tree import files_below, resolved

ABOUT_TEXT = frozenset({"", "image_text", "image_burned_in"})  # "" where a person wrote the path alone
SUFFIXES = frozenset({".dcm", ".dicom"})  # must be DICOM; files of other names may be


def read_dicom(source: Path, rules: DicomData) -> list[Found]:
    """Read the rows of all DICOM pictures that have a patient and a label, and why the others have none; no split.

    Patients are those of PatientID alone: people of different issuers under one number count as one person, who is
    then protected as one. An image that stands in several files counts once.
    Errors: `DataError` for a list or labels that cannot be read.
    """
    return list(_scan(source, rules))


def dicom_notes(rules: DicomData) -> tuple[str, ...]:
    """Say what every report about this source must tell."""
    labels = "by rules from a tag" if rules.labels is None else "from a table"
    notes = [f"DICOM files: patients are told apart by PatientID alone, labels come {labels}."]
    if rules.text != "refuse":
        kind = "Suspected" if rules.text == "refuse_flagged" else "Flagged and suspected"
        notes.append(f"{kind} burned-in text was let through by the site's own rule.")
    if rules.reviewed is not None:
        notes.append("Pictures with suspected text that a person has looked at were let through.")
    return tuple(notes)


def safe_patient(patient_id: str) -> str:
    """Return the digest that stands for a PatientID in memory; what is stored of it is an HMAC of this."""
    return hashlib.blake2b(
        patient_id.encode(errors="surrogatepass"), digest_size=16, person=b"DICOM patient"
    ).hexdigest()


def _scan(source: Path, rules: DicomData) -> Iterator[Found]:
    """Yield a row for each picture to use, or why it is left out, in order of path."""
    folder = source if source.is_dir() else source.parent
    labels, reviewed = labels_by(rules, folder), _reviewed(rules, folder)
    asked = {*KEYWORDS.values(), "PatientID", "Rows", "Columns", *rules.keep}
    asked |= {rules.label_tag} if rules.label_tag is not None else set()
    seen: set[tuple[str, str]] = set()
    yield from labels.left_out
    tables = {resolved(folder / name) for name in (rules.labels, rules.reviewed) if name is not None}
    for path in _files(source, tables):
        if isinstance(path, LeftOut):
            yield path
            continue
        try:
            header = parsed(partial(_header, path, asked))
        except ImageError as error:
            yield LeftOut(error.kind, file=path)
            continue
        image = (header["PatientID"], header["SOPInstanceUID"])
        label = labels.of(header)
        if not header["Rows"] or not header["Columns"]:
            yield LeftOut("no_picture", file=path)
        elif not all(fits(header, tag, patterns) for tag, patterns in rules.keep.items()):
            yield LeftOut("not_kept", file=path)
        elif not header["PatientID"] or names_nobody(header["PatientID"]):
            yield LeftOut("image_no_patient", file=path)
        elif label == UNCLEAR:
            yield LeftOut("label_unclear", safe_patient(header["PatientID"]), file=path)
        elif label is None:
            yield LeftOut("no_label", file=path)
        elif all(image) and image in seen:
            yield LeftOut("repeated", file=path)
        else:
            seen.add(image)
            text_rule = "allow" if reviewed and resolved(path) in reviewed else rules.text
            patient_id, uid = header["PatientID"], header["SOPInstanceUID"]
            yield Row(
                path,
                label,
                "",
                safe_patient(patient_id),
                "",
                text_rule=text_rule,
                spelt=safe_patient(plain_identifier(patient_id)),
                picture=safe_patient(uid) if uid else "",
            )


def _header(path: Path, asked: Iterable[str]) -> dict[str, str]:
    r"""Read tags as text: "" where one is absent or empty, several values joined by \ as in the file."""
    check_dicom_file(path)
    numbers = {name: tag_number(name) or 0 for name in asked}
    dataset = dcmread(path, force=True, stop_before_pixels=True, specific_tags=list(numbers.values()))
    elements = {name: dataset.get(number) for name, number in numbers.items()}
    return {
        name: "" if one is None or one.value is None else _text(one.value) for name, one in elements.items()
    }


def _text(value: object) -> str:
    return "\\".join(map(str, value)).strip() if isinstance(value, MultiValue) else str(value).strip()


def _files(source: Path, tables: Collection[Path]) -> Iterator[Path | LeftOut]:
    """Yield what a list names, or all of a folder that is called or begins as DICOM, and what is passed over."""
    if not source.is_dir():
        found = _listed(source)
        yield from (one for one in found if isinstance(one, LeftOut))
        yield from sorted({one for one in found if isinstance(one, Path)})
        return
    for one in files_below(source, lambda _name: True):
        if isinstance(one, LeftOut) or one.suffix.lower() in SUFFIXES or is_dicom(one):
            yield one
        elif resolved(one) not in tables:
            yield LeftOut("not_dicom", file=one)


def _listed(path: Path) -> list[Path | LeftOut]:
    """Read a list of files: a CSV with the column file, or one path a line; # begins a remark."""
    is_table = path.suffix.lower() == ".csv"
    columns = ("file",)
    lines = (
        read_table(path, "source", names=columns, required=columns, needed=columns, remark="#")
        if is_table
        else read_names(path, "source")
    )
    found: list[Path | LeftOut] = []
    for line in lines.lines:
        name = line.cells.get("file", "")
        if kind := line.problem or unfit_path(name):
            refusal = LINE_REFUSALS[kind].format(f"line {line.number} of {path}")
            found.append(LeftOut(kind, file=path, refusal=refusal))
        else:
            found.append(beside(path.parent, name))
    return found


def _reviewed(rules: DicomData, folder: Path) -> set[Path]:
    """Read which files a person has looked at; a line that names none lets none through.

    A line of `rounds-site refused` counts where it is about text: a file may stand there for another reason as well,
    and a person who takes out the one line means the file.
    """
    if rules.reviewed is None:
        return set()
    path = folder / rules.reviewed
    lines = read_names(path, "data.dicom.reviewed").lines
    told = (line.cells["file"].rpartition("\t") for line in lines if not line.problem)
    return {
        resolved(folder / name.strip())
        for kind, _, name in told
        if name.strip() and kind.strip() in ABOUT_TEXT
    }
