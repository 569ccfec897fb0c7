"""Which reference images does an audit look at? An order by hash, so that nobody picks them.

In: reference patients. Out: image records in the order in which they are audited. All of them are public.
"""

import hashlib
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import TypeVar

from shared.data.patients import ImageRecord, Patient

T = TypeVar("T")
Numbered = tuple[int, ImageRecord]


def choose_images(reference: Iterable[Patient], num_images: int) -> list[Numbered]:
    """Choose at most `num_images` images: (number of the patient within the reference, image).

    Every patient's first image comes before any second one; classes take turns, within a class sites of
    origin; within a site, images with a region mask come first, then the order is that of `key_of`.
    """
    patients = sorted(reference, key=lambda patient: patient.patient_id)
    queues = [
        [(number, image) for image in sorted(patient.images, key=_preference)]
        for number, patient in enumerate(patients)
    ]
    order: list[Numbered] = []
    for tier in range(max((len(queue) for queue in queues), default=0)):
        order += _balanced([queue[tier] for queue in queues if len(queue) > tier])
    return order[:num_images]


def key_of(image: ImageRecord) -> str:
    """Digest of an image's identity: the same wherever the data set lies."""
    identity = f"{image.patient_id}/{image.file.name}/{image.index}"
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def _preference(image: ImageRecord) -> tuple[bool, str]:
    return image.mask is None, key_of(image)


def _balanced(entries: Sequence[Numbered]) -> list[Numbered]:
    """Classes in turn, and within each class sites in turn."""
    cells: dict[int, dict[str, list[Numbered]]] = {}
    for entry in sorted(entries, key=lambda entry: (entry[1].label, entry[1].site, *_preference(entry[1]))):
        cells.setdefault(entry[1].label, {}).setdefault(entry[1].site, []).append(entry)
    return _in_turn([_in_turn(list(sites.values())) for sites in cells.values()])


def _in_turn(queues: Sequence[Sequence[T]]) -> list[T]:
    """One from each queue, then the next from each, until all are empty."""
    rows = zip_longest(*([(entry,) for entry in queue] for queue in queues), fillvalue=())
    return [entry for row in rows for boxed in row for entry in boxed]
