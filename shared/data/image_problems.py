"""What can be wrong with an image, in one word each, and what to do about it.

The words are counted at the site (`rounds-site check`) and never leave. A sentence made here holds no path, no name
and no value of a file.
"""

from shared.errors import DataError

# word: (what is wrong, what to do). What begins with "image" makes a patient contribute nothing. What begins with
# "mask" changes no training: only an audit looks at masks. The other words say why a file of a DICOM source is not
# looked at.
PROBLEMS: dict[str, tuple[str, str]] = {
    "image_missing": ("the file does not exist", "restore it or remove it from the data"),
    "image_unreadable": ("the file is damaged or no image of its kind", "export it again or remove it"),
    "image_empty": ("the picture holds one grey value only", "replace it or remove it"),
    "image_no_patient": (
        "its PatientID is empty",
        "fill it in at the source, since privacy is for one PatientID",
    ),
    "image_no_pixels": ("the DICOM file holds no pixel data", "leave out reports and presentation states"),
    "image_not_grey": ("it is in colour", "export MONOCHROME1 or MONOCHROME2, or leave it out"),
    "image_frames": ("it has several frames", "export single frames or leave it out"),
    "image_depth": ("it is stored with less than 8 or more than 16 bits", "export it with 8 to 16 bits"),
    "image_size": ("it is larger than 100 million pixels", "export it smaller or leave it out"),
    "image_syntax": (
        "nothing installed decodes its transfer syntax",
        "export it uncompressed, or as JPEG, JPEG 2000, JPEG-LS or RLE",
    ),
    "image_window": ("its window, rescale or lookup table cannot be applied", "export it again without it"),
    "image_burned_in": (
        "its header says that identifying text is burned in",
        "blank the text, or list it in data.dicom.reviewed (predict: --allow-text) after a look at it",
    ),
    "image_text": (
        "writing is suspected in the picture",
        "look at it (rounds-site refused); if it names nobody, list it in data.dicom.reviewed (predict: --allow-text)",
    ),
    "mask_missing": ("the mask does not exist", "restore it or empty its cell"),
    "mask_unreadable": ("the mask is no readable image", "replace it"),
    "mask_size": ("the mask has another size than its image", "redraw it"),
    "no_label": (
        "no label is known",
        "add it to data.dicom.labels or label_rules; right if it is not of the study",
    ),
    "no_picture": (
        "a DICOM object without rows and columns",
        "nothing: reports and directories are passed over",
    ),
    "not_kept": ("left out by data.dicom.keep", "nothing, if that is what was meant"),
    "repeated": ("the same image stands in an earlier file", "nothing: the first file by name counts"),
}


class ImageError(DataError):
    """One image or mask cannot be used; `kind` is the word under which `check_images` counts it."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


def image_error(kind: str) -> ImageError:
    """Make the error for one of `PROBLEMS`, whose sentence names no file."""
    wrong, remedy = PROBLEMS[kind]
    return ImageError(kind, f"{kind}: {wrong}; {remedy}")


def advice(kind: str, count: int) -> str:
    """Say how often a problem was met and what to do about it."""
    wrong, remedy = PROBLEMS[kind]
    return f"{kind} {count}: {wrong}; {remedy}"
