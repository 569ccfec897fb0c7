"""A lookup table of DICOM: a sequence item comes in, entries and what they stand for go out.

A table may hold its entries as words, as bytes two to a word, or with another depth than it says; what it holds counts.
Source: DICOM PS3.3 C.11.1.1, C.11.2.1.1.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.multival import MultiValue

MAX_ENTRIES = 1 << 16
BYTE_BITS = 8


@dataclass(frozen=True)
class Table:
    """Entries for the values from `first` on, which stands in 16 bits as the file has it; values beyond get the end."""

    entries: npt.NDArray[np.uint16]
    first: int
    bits: int

    def of(self, values: npt.NDArray[Any], first: int) -> npt.NDArray[np.uint16]:
        """Look values up, with the sign of `first` as given."""
        found: npt.NDArray[np.uint16] = self.entries[(values - first).clip(0, len(self.entries) - 1)]
        return found

    def ends(self) -> tuple[float, float]:
        """Return black and white: of the depth the table says, or the entries' own range where they have another."""
        low, high = int(self.entries.min()), int(self.entries.max())
        if 1 << (self.bits - 1) <= high < 1 << self.bits:
            return 0.0, float((1 << self.bits) - 1)
        if low == high:
            raise ValueError("a table of one grey value")
        return float(low), float(high)


def first_table(dataset: Dataset, keyword: str) -> Table | None:
    """Read the first item of a sequence that is not empty; None where there is none, ValueError where it is half."""
    for item in dataset.get(keyword) or ():
        descriptor, data = item.get("LUTDescriptor"), item.get("LUTData")
        if _is_empty(descriptor) and _is_empty(data):
            continue
        if _is_empty(descriptor) or _is_empty(data) or len(descriptor) != 3:
            raise ValueError("half a table")
        num_entries, first, bits = (int(part) for part in descriptor)
        num_entries = num_entries & 0xFFFF or MAX_ENTRIES
        if not BYTE_BITS <= bits <= 2 * BYTE_BITS:
            raise ValueError("a depth that no table has")
        return Table(_entries(data, num_entries, bits, little=_is_little(dataset)), first, bits)
    return None


def _entries(data: Any, num_entries: int, bits: int, *, little: bool) -> npt.NDArray[np.uint16]:
    order = "<" if little else ">"
    if isinstance(data, bytes):
        stored = data
    else:
        values = [data] if isinstance(data, int) else list(data)
        stored = (np.array(values, np.int64) & 0xFFFF).astype(f"{order}u2").tobytes()
    if len(stored) == 2 * num_entries:
        return np.frombuffer(stored, f"{order}u2").astype(np.uint16)
    if (
        bits == BYTE_BITS and len(stored) == num_entries + num_entries % 2
    ):  # two to a word, the first in its low byte
        words = np.frombuffer(stored, f"{order}u2").astype("<u2")
        return np.frombuffer(words.tobytes(), np.uint8)[:num_entries].astype(np.uint16)
    raise ValueError("another number of entries than said")


def _is_empty(value: Any) -> bool:
    return value is None or value in (b"", "") or (isinstance(value, MultiValue | list) and not len(value))


def _is_little(dataset: Dataset) -> bool:
    return dataset.original_encoding[1] is not False
