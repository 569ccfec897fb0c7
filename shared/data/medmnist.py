"""MedMNIST .npz files: real images in number, without patients and without sites.

A file with {train,val,test}_{images,labels} comes in; rows go out, each image a patient of its own. The
sites of such a file are made, not found (`made_sites`); `medmnist_notes` says so in every report. Identifiers are
row numbers and duplicates are left out by looking across rows, so one row less would change what stands for the
others: a simulation deals such a file into manifests once, and a site refuses it (`check_hospital_source`).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.config.study import Task
from shared.data.image_problems import ImageError
from shared.data.npz_arrays import UNREADABLE, read_array
from shared.data.patients import SPLITS, Patient, Row
from shared.data.pictures.limits import MAX_ARRAY_BYTES, MAX_ARRAY_RATIO, MAX_DECODED_BYTES, TooLargeError
from shared.errors import DataError

Pixels = npt.NDArray[np.uint8]


def read_medmnist(path: Path, task: Task) -> list[Row]:
    """Read the rows of a MedMNIST file; label i is the task's class i.

    Train images that repeat an earlier train image, or stand in val or test, are left out, byte by byte.
    Errors: `DataError` for a file of another layout, or a label without a class.
    """
    rows = []
    held_out = {_digest(image) for split in ("val", "test") for image in _images(path, split)}
    seen: set[bytes] = set()
    for split in SPLITS:
        images, labels = _images(path, split), _labels(path, split, task)
        if len(images) != len(labels):
            raise DataError(
                f"{split}_labels of {path} has {len(labels)} rows, needed is one for each of {len(images)} "
                f"{split}_images; repair the file"
            )
        for index, image in enumerate(images):
            digest = _digest(image)
            if split == "train" and (digest in seen or digest in held_out):
                continue
            seen.add(digest)
            patient_id = f"mnist-{split}-{index:06d}"
            rows.append(Row(path, task.classes[labels[index]], "", patient_id, split, index=index))
    return rows


def medmnist_notes(path: Path, task: Task) -> tuple[str, ...]:  # noqa: ARG001 - the readers' common shape
    """Say what every report about this file must tell."""
    return (
        "The file names no patients: each image counts as a patient, and privacy is then for one image.",
        "The file names no sites: any sites in this study were made, not found.",
        f"The file holds class numbers, read in the order {', '.join(task.classes)}.",
        "Train images that repeat another train image or stand in val or test were left out.",
    )


def made_sites(patients: Sequence[Patient], num_sites: int, seed: int, skew: float) -> list[Patient]:
    """Deal patients to `num_sites` made sites site-1, site-2, ... with a label skew.

    Each class has shares over the sites from Dirichlet(1 / skew) (Hsu et al., arXiv 1909.06335; skew 0:
    equal shares, 1: flat Dirichlet, larger: each site has few classes). A patient's place in them is the
    hash of (seed, patient_id), so it depends on no other patient.
    """
    if num_sites < 1 or skew < 0:
        raise DataError(
            f"num_sites is {num_sites} and skew {skew:g}, allowed is at least 1 and 0; correct them"
        )
    dealt = []
    for patient in patients:
        edges = np.cumsum(_shares(num_sites, seed, skew, patient.label))
        key = hashlib.blake2b(f"{seed}\0{patient.patient_id}".encode(), digest_size=8).digest()
        place = int(np.searchsorted(edges, int.from_bytes(key, "little") / 2**64, side="right"))
        site = f"site-{min(place, num_sites - 1) + 1}"
        dealt.append(replace(patient, images=tuple(replace(image, site=site) for image in patient.images)))
    return dealt


def npz_row(path: Path, split: str, index: int) -> Pixels:
    """Return one image (H, W) or (H, W, 3) uint8 of a MedMNIST file."""
    images = _images(path, split)
    if not 0 <= index < len(images):
        raise DataError(f"index is {index} for {path}, allowed is below {len(images)}; correct the manifest")
    row: Pixels = images[index]
    return row


def _shares(num_sites: int, seed: int, skew: float, label: int) -> npt.NDArray[np.float64]:
    if skew == 0:
        return np.full(num_sites, 1 / num_sites)
    return np.random.default_rng([seed, label]).dirichlet(np.full(num_sites, 1 / skew))


def _digest(image: Pixels) -> bytes:
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()


def _images(path: Path, split: str) -> Pixels:
    images = _array(path, f"{split}_images")
    if images.dtype != np.uint8 or (images.ndim != 3 and images.shape[3:] != (3,)):
        raise DataError(
            f"{split}_images of {path} is {images.dtype} of shape {images.shape}, needed is uint8 (N, H, W) or "
            "(N, H, W, 3); repair the file"
        )
    return images


def _labels(path: Path, split: str, task: Task) -> list[int]:
    labels = _array(path, f"{split}_labels")
    if labels.ndim > 1 and labels.shape[1:] != (1,):
        raise DataError(f"{split}_labels of {path} has {labels.shape[1]} labels an image, allowed is one")
    if labels.dtype.kind not in "iuf" or not np.array_equal(labels, np.trunc(labels)):
        raise DataError(
            f"{split}_labels of {path} holds {labels.dtype} that is no class number, needed are whole numbers from 0 "
            f"to {len(task.classes) - 1}; repair the file"
        )
    found = [int(label) for label in labels.reshape(-1)]
    wrong = sorted({label for label in found if not 0 <= label < len(task.classes)})
    if wrong:
        raise DataError(
            f"label is {wrong[0]} in {path}, allowed is 0 to {len(task.classes) - 1} (the study's classes "
            f"{', '.join(task.classes)}); choose a study with these classes"
        )
    return found


def _array(path: Path, name: str) -> npt.NDArray[Any]:
    try:
        return read_array(path, name)
    except TooLargeError:
        raise ImageError(
            "image_too_large",
            f"{name} of {path} is too large, allowed are {MAX_ARRAY_BYTES >> 20} MiB for the array, and beyond "
            f"{MAX_DECODED_BYTES >> 20} MiB at most {MAX_ARRAY_RATIO} times what it takes in the file; take smaller "
            "pictures or divide the file",
        ) from None
    except UNREADABLE as error:
        raise DataError(
            f"{path} holds no {name} that can be read, needed is a MedMNIST .npz with "
            "{train,val,test}_{images,labels}; fetch it again"
        ) from error
