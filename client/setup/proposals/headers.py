"""What do DICOM headers say? Some files come in; tags that may hold a label, and how patients are told apart, go out.

Values of tags that name, date or number a person are never kept: what a tag is worth as a label is judged by how many
values it has, and shown to the hospital's own people alone.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydicom import dcmread
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset

from client.setup.proposals.contents import evenly
from shared.data.dicom.limits import check_dicom_file
from shared.data.dicom.picture import parsed
from shared.data.image_problems import ImageError
from shared.data.tables.identifiers import names_nobody

MOST_LOOKED_AT, MOST_VALUES, LONGEST = 500, 12, 64
_TEXTS = frozenset({"CS", "LO", "SH", "ST", "LT", "UC", "UT"})
KEYS = {"sop_instance_uid": "SOPInstanceUID", "accession_number": "AccessionNumber"}
# Where a diagnosis may stand, best first.
LIKELY = (
    "AdmittingDiagnosesDescription", "RequestedProcedureDescription", "ReasonForStudy",
    "ReasonForTheRequestedProcedure", "StudyDescription", "SeriesDescription", "ImageComments", "StudyComments",
    "PerformedProcedureStepDescription", "ProtocolName",
)  # fmt: skip
# What else has few values, and says how or of whom the picture was taken.
NOT_LABELS = frozenset({
    "BodyPartExamined", "Modality", "ViewPosition", "PatientSex", "PatientPosition", "PatientOrientation",
    "Laterality", "ImageLaterality", "ImageType", "ConversionType", "PhotometricInterpretation",
    "PresentationIntentType", "PresentationLUTShape", "BurnedInAnnotation", "SpecificCharacterSet", "Manufacturer",
    "ManufacturerModelName", "SoftwareVersions", "LossyImageCompression", "LossyImageCompressionMethod",
    "PixelIntensityRelationship", "FieldOfViewShape", "DetectorType", "Grid", "FilterType", "VOILUTFunction",
    "RescaleType", "WindowCenterWidthExplanation",
    "QualityControlImage", "PatientIdentityRemoved", "DeidentificationMethod", "ExposureStatus",
})  # fmt: skip
_PERSONAL = ("Name", "ID", "Address", "Telephone", "Number", "Physician", "Birth", "Religious", "Occupation")


@dataclass(frozen=True)
class Headers:
    """What the headers that were looked at have in common; identifiers are kept for matching with tables alone."""

    num_files: int
    num_patients: int
    num_nobody: int  # of the files looked at: without a PatientID that names anybody
    num_unreadable: int
    num_pictures: int
    tags: Mapping[str, Counter[str]]  # those that may hold a label, best first
    passed_by: tuple[str, ...]  # tags of few values that hold no label
    keys: Mapping[str, frozenset[str]]  # values of each key that a table of labels may go by


def look_at_headers(files: Sequence[Path]) -> Headers:
    """Read headers, without pixels, of at most `MOST_LOOKED_AT` files spread over all; a damaged one is counted."""
    some = evenly(files, MOST_LOOKED_AT)
    found = []
    for path in some:
        try:
            found.append(parsed(partial(_header, path)))
        except ImageError:
            continue
    pictures = [one for one in found if one.get("Rows") and one.get("Columns")]
    patients = [str(one.get("PatientID") or "").strip() for one in pictures]
    named = {one for one in patients if one and not names_nobody(one)}
    few = _few_values(pictures)
    tags = sorted((name for name in few if name not in NOT_LABELS), key=lambda one: (_rank(one), one))
    return Headers(
        num_files=len(files),
        num_patients=len(named),
        num_nobody=sum(not one or names_nobody(one) for one in patients),
        num_unreadable=len(some) - len(found),
        num_pictures=len(pictures),
        tags={name: few[name] for name in tags},
        passed_by=tuple(sorted(name for name in few if name in NOT_LABELS)),
        keys={
            key: frozenset(str(one.get(tag) or "").strip() for one in pictures) - {""}
            for key, tag in KEYS.items()
        },
    )


def _header(path: Path) -> Dataset:
    check_dicom_file(path)
    return dcmread(path, force=True, stop_before_pixels=True)


def _few_values(headers: Sequence[Dataset]) -> dict[str, Counter[str]]:
    """Count the values of each text tag that is nobody's own, has between 2 and `MOST_VALUES`, and stands in most."""
    counted: dict[str, Counter[str]] = {}
    for header in headers:
        for element in header:
            name = keyword_for_tag(element.tag)
            if name and element.VR in _TEXTS and not any(word in name for word in _PERSONAL):
                value = (
                    "\\".join(element.value) if not isinstance(element.value, str | None) else element.value
                )
                counted.setdefault(name, Counter())[str(value or "").strip()] += 1
    kept = {}
    for name, values in counted.items():
        del values[""]
        is_whole = 2 * values.total() > len(headers)
        repeats = values.total() >= 2 * len(values)
        if is_whole and repeats and 2 <= len(values) <= MOST_VALUES and max(map(len, values)) <= LONGEST:
            kept[name] = values
    return kept


def _rank(name: str) -> int:
    return LIKELY.index(name) if name in LIKELY else len(LIKELY)
