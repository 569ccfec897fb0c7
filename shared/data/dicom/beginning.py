"""Does a file begin as DICOM? With its preamble of 128 bytes and DICM, or with its first element at once.

Without a preamble, and without the group that names the transfer syntax, it is read as the little or big endian, with
or without VRs, that its first element shows, and only where the pixel data has just the length that its header says.
"""

from pydicom import Dataset
from pydicom.datadict import dictionary_has_tag
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

LENGTH = 132
META_VRS, FIRST_VRS = {b"UL", b"OB"}, {b"CS", b"DA", b"UI", b"TM", b"UL"}
GUESSED = "guessed_syntax"  # private attribute of a data set
MOST_BYTES = 64  # of the first element's value


def begins_as_dicom(beginning: bytes) -> bool:
    """Say so of a file's first `LENGTH` bytes."""
    return has_preamble(beginning) or _is_element(beginning[:8])


def has_preamble(beginning: bytes) -> bool:
    """Say whether DICM stands behind 128 bytes."""
    return beginning[128:LENGTH] == b"DICM"


def with_syntax(dataset: Dataset) -> Dataset:
    """Name the transfer syntax of a data set that does not say it, by how its elements were found to be written."""
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        written = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        dataset.file_meta.TransferSyntaxUID = written if little else ExplicitVRBigEndian
        setattr(dataset, GUESSED, True)
    return dataset


def has_known_syntax(dataset: Dataset) -> bool:
    """Say whether the file itself named its transfer syntax."""
    return not getattr(dataset, GUESSED, False)


def _is_element(header: bytes) -> bool:
    """Say whether eight bytes are the head of a first element of group 2 or 8 (DICOM PS3.5 7.1)."""
    if len(header) < 8:
        return False
    for order in ("little", "big"):
        group, element = (int.from_bytes(header[at : at + 2], order) for at in (0, 2))
        if group == 2:
            return order == "little" and element <= 1 and header[4:6] in META_VRS
        if group == 8:
            known = dictionary_has_tag(group << 16 | element) or element == 0
            length = int.from_bytes(header[4:8], order)
            return known and (header[4:6] in FIRST_VRS or (order == "little" and length <= MOST_BYTES))
    return False
