"""Small DICOM files for tests: pixels and tags come in, a file with planted identifiers goes out.

What is planted stands for people in no hospital: `PLANTED` lists it, and tests search for it. `dicom_hospital` writes
the films of a whole phantom hospital.
"""

import csv
import io
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders.base import get_encoder
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    RLELossless,
    generate_uid,
)

from deploy.simulation.phantoms import SitePlan, draw_patient

PEOPLE = {
    "PatientName": "Plantedname^Paula",
    "PatientID": "PLANTED-4711",
    "PatientBirthDate": "19330207",
    "AccessionNumber": "ACCPLANTED9",
    "StudyDate": "20190519",
    "StudyDescription": "Chest of Plantedname, pneumonia",
    "InstitutionName": "Planted General Hospital",
    "OtherPatientIDs": "PLANTED-OTHER-12",
}
PLANTED = tuple(value for parts in PEOPLE.values() for value in parts.split("^"))


def picture(seed: int = 0, height: int = 60, width: int = 80, top: int = 4095) -> np.ndarray:
    """Return smooth grey values 0..top (H, W) uint16 that differ in every corner."""
    y, x = np.mgrid[:height, :width]
    waves = np.sin(x / 9 + seed) + np.cos(y / 7) + x / width + 2 * y / height
    return ((waves - waves.min()) / np.ptp(waves) * top).astype(np.uint16)


def dicom_file(path: Path, stored: np.ndarray, *, syntax: str = ExplicitVRLittleEndian, **tags: Any) -> Path:
    """Write stored values (H, W) as a MONOCHROME2 file; `tags` sets tags by keyword, None leaves one out."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    values = PEOPLE | {
        "SOPClassUID": ComputedRadiographyImageStorage,
        "SOPInstanceUID": generate_uid(entropy_srcs=[path.name]),
        "Modality": "CR",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": stored.shape[0],
        "Columns": stored.shape[1],
        "BitsAllocated": 8 * stored.itemsize,
        "BitsStored": 8 * stored.itemsize,
        "PixelRepresentation": int(stored.dtype.kind == "i"),
    }
    values |= tags
    values.setdefault("HighBit", (values["BitsStored"] or 1) - 1)
    for keyword, value in values.items():
        if value is not None:
            setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    if "PixelData" not in tags:
        big = syntax == ExplicitVRBigEndian
        dataset.PixelData = stored.astype(stored.dtype.newbyteorder(">" if big else "<")).tobytes()
        dataset["PixelData"].VR = "OB" if stored.itemsize == 1 else "OW"
    path.parent.mkdir(parents=True, exist_ok=True)
    if syntax == JPEGBaseline8Bit:
        buffer = io.BytesIO()
        Image.fromarray(stored).save(buffer, "JPEG", quality=98)
        _set_frame(dataset, syntax, buffer.getvalue())
    elif syntax in {JPEGLossless, JPEGLosslessSV1}:
        dataset.save_as(path, enforce_file_format=True)
        _recode(path, syntax)
        return path
    elif _compresses(syntax):
        dataset.compress(syntax, generate_instance_uid=False, **_options(syntax))
    elif UID(syntax).is_encapsulated:
        _set_frame(dataset, syntax, b"no frame")  # nothing here encodes it
    else:
        dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, enforce_file_format=True)
    return path


def dicom_hospital(folder: Path, plan: SitePlan, size: int = 48) -> dict[str, Any]:
    """Write a phantom hospital's films (`size` px) as 12-bit DICOM, some compressed; returns `data` of its site.yaml.

    Labels stand in a table by SOPInstanceUID beside the files.
    """
    syntaxes = (ExplicitVRLittleEndian, RLELossless, JPEGLosslessSV1)
    rows = [("sop_instance_uid", "label")]
    for split, count in plan.num_patients.items():
        for number in range(count):
            label, pictures = draw_patient(plan, split, number, seed=0, size=size)
            for i, one in enumerate(pictures):
                path = folder / split / f"{number}-{i}.dcm"
                uid, patient = generate_uid(entropy_srcs=[str(path)]), f"PLANTED-{split}-{number}"
                dicom_file(
                    path, one.pixels.astype(np.uint16) * 16, syntax=syntaxes[number % len(syntaxes)],
                    BitsStored=12, SOPInstanceUID=uid, PatientID=patient,
                )  # fmt: skip
                rows.append((uid, label))
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return {"source": str(folder), "dicom": {"labels": "labels.csv"}}


def with_text(
    grey: np.ndarray, text: str, size: int, place: tuple[int, int] = (6, 6), fill: int = 255
) -> np.ndarray:
    """Print text of `size` pixels into a picture (H, W) uint8."""
    image = Image.fromarray(grey)
    ImageDraw.Draw(image).text(place, text, fill=fill, font=ImageFont.load_default(size))
    return np.asarray(image)


def _compresses(syntax: str) -> bool:
    try:
        return get_encoder(syntax).is_available
    except NotImplementedError:
        return False


def _options(syntax: str) -> dict[str, Any]:
    lossy = {"1.2.840.10008.1.2.4.81": {"jls_error": 2}, "1.2.840.10008.1.2.4.91": {"j2k_psnr": [70]}}
    return lossy.get(syntax, {})


def _set_frame(dataset: Dataset, syntax: str, frame: bytes) -> None:
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True


def _recode(path: Path, syntax: str) -> None:
    """Encode in place with GDCM, the one encoder of lossless JPEG here."""
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    kinds = {JPEGLossless: gdcm.TransferSyntax.JPEGLosslessProcess14}
    change.SetTransferSyntax(
        gdcm.TransferSyntax(kinds.get(syntax, gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    )
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
