"""What can be wrong with an image or its record, in one word each, and what to do about it.

The words are counted at the site (`rounds-site check`) and never leave. A sentence made here holds no path, no name
and no value of a file.
"""

from shared.errors import DataError

# word: (what is wrong, what to do). What begins with "image" or "record" makes a patient contribute nothing and counts
# towards data.max_unreadable. What begins with "mask" changes no training: only an audit looks at masks. The other
# words say why a file or line is not looked at.
PROBLEMS: dict[str, tuple[str, str]] = {
    "image_missing": ("the file does not exist", "restore it or remove it from the data"),
    "image_unreadable": ("the file is damaged or no image of its kind", "export it again or remove it"),
    "image_empty": ("the picture holds one grey value only", "replace it or remove it"),
    "image_no_patient": (
        "its PatientID is empty or a word for a missing one",
        "fill it in at the source, since privacy is for one PatientID",
    ),
    "image_no_pixels": ("the DICOM file holds no pixel data", "leave out reports and presentation states"),
    "image_not_grey": ("it is in colour", "export MONOCHROME1 or MONOCHROME2, or leave it out"),
    "image_frames": ("its file holds several pictures or frames", "export single ones or leave it out"),
    "image_alpha": (
        "it is transparent in part, and what should be seen there cannot be told",
        "save it without transparency",
    ),
    "image_depth": ("it is stored with less than 8 or more than 16 bits", "export it with 8 to 16 bits"),
    "image_too_large": (
        "it has more pixels, bytes or scans than a picture here may have (shared/data/pictures/limits.py)",
        "export it smaller or leave it out",
    ),
    "image_header": (
        "its header gives other rows, columns, samples or bits than its compressed picture has",
        "export it again or leave it out",
    ),
    "image_decoder": (
        "its decoder crashed on it or did not come to an end",
        "export it again, best uncompressed, or remove it",
    ),
    "image_syntax": (
        "nothing installed decodes its transfer syntax",
        "export it uncompressed, or as JPEG, JPEG 2000, JPEG-LS or RLE",
    ),
    "image_bits": (
        "its pixels do not stand in the bits that its header gives (BitsStored, HighBit)",
        "export it again or leave it out",
    ),
    "image_inverted": (
        "its PresentationLUTShape and PhotometricInterpretation contradict each other, so black may be white",
        "correct one of them after a look at it, or leave it out",
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
    "image_row": ("nothing says which row of its .npz it is", "name it in a manifest, by index and split"),
    "mask_missing": ("the mask does not exist", "restore it or empty its cell"),
    "mask_unreadable": ("the mask is no readable image", "replace it"),
    "mask_too_large": ("the mask has more pixels or bytes than a picture here may have", "save it smaller"),
    "mask_decoder": ("the mask's decoder crashed on it or did not come to an end", "save it again as PNG"),
    "mask_frames": ("the mask's file holds several pictures", "save one"),
    "mask_values": (
        "its values do not say what is inside; allowed are black and one other value, or grey from black to white",
        "save it as 0 and 255",
    ),
    "mask_size": ("the mask has another size than its image", "redraw it"),
    "record_label": (
        "its label is no class of the study",
        'correct it, or add it to data.label_map (map it to "" to leave it out)',
    ),
    "record_split": ("its split is not train, val, test or empty", "correct it"),
    "record_two_splits": (
        "its patient stands in more than one split",
        "give all images of a patient one split",
    ),
    "record_two_sites": (
        "its patient stands at more than one site",
        "give all images of a patient one site, or correct the patient_id",
    ),
    "record_no_patient": ("its patient_id is empty", "fill it in, since privacy is for one patient_id"),
    "record_nobody": (
        "its patient_id is a word for a missing one, such as NaN, None or a dash",
        "write whose it is, since privacy is for one patient_id",
    ),
    "record_rounded": (
        "its patient_id was rounded by a spreadsheet, such as 1.2E+11, and may stand for several people",
        "export the column as text",
    ),
    "record_contradicts": (
        "its picture stands with two labels for one patient, who is left out",
        "correct the rows of that picture",
    ),
    "record_index": ("its index is not 0 or more, or is missing for an .npz", "correct it"),
    "record_npz_split": ("it names no split, which an .npz needs to find its array", "fill it in"),
    "record_text_rule": (
        "its text_rule is none of those allowed",
        "use refuse, refuse_flagged, allow or nothing",
    ),
    "record_text": (
        "its identifier or path is not UTF-8, or holds a NUL or a line break",
        "rename it, or save the table in UTF-8",
    ),
    "record_path": ("its path is longer than a system allows", "correct or shorten it"),
    "record_encoding": ("its line of the table is not UTF-8", "save the table in UTF-8"),
    "record_quotes": (
        "a quotation mark is open at the end of its line, and a cell may hold no line break",
        "close it, or take it out",
    ),
    "record_long": ("its line, or a cell of it, is too long", "shorten it to 131,072 characters a cell"),
    "record_cells": ("its line has too few or too many cells", "give it one for each column"),
    "record_place": ("its image stands in no class folder", "move it to <class>/ or <split>/<class>/"),
    "record_unlisted": ("its image has no line in patients.csv", "add one"),
    "record_shared": (
        "its image stands under more than one patient_id and counts for each",
        "leave it under one: a person of two identifiers is protected as two",
    ),
    "record_folder": (
        "a folder of images cannot be listed or stands more than 64 folders deep",
        "let the program's user read it, or move it up",
    ),
    "record_two_labels": (
        "data.dicom.labels gives its key another label than an earlier line",
        "correct one",
    ),
    "label_unclear": (
        "data.dicom.labels has two labels, or only a damaged line, for the image; its patient is left out",
        "correct the lines of its key",
    ),
    "same_picture": (
        "its content stands under another patient or label as well",
        "leave it under one patient_id and label: a person of two identifiers is protected as two",
    ),
    "patient_alike": (
        "its patient_id is another's in another spelling (zeros in front, 7.0 for 7, case, spaces, Unicode form)",
        "write each person's identifier in one way: a person of two identifiers is protected as two",
    ),
    "unsplit": (
        "it names no split while others do, so that the site's own key divides it (a simulation: a hash)",
        "give it a split (manifest), or move its class folder into train, val or test",
    ),
    "other_site": ("the record is of another site", "nothing, if data.site is right"),
    "system_file": (
        "a hidden file or folder, or one that a system leaves behind (._*, .DS_Store, Thumbs.db, __MACOSX)",
        "nothing: no picture of a patient; rename it if it is one",
    ),
    "linked_folder": (
        "a link to a folder that leads back into the source, or stands behind another link",
        "nothing if its pictures are read where they stand; else put the folder itself there",
    ),
    "other_format": (
        "a picture of a format that is not read here",
        "save it as PNG, JPEG, BMP or TIFF; for DICOM fill in data.dicom",
    ),
    "other_file": ("no picture by its name", "nothing; give it the suffix of its format if it is one"),
    "not_dicom": ("no DICOM file", "nothing; PNG, JPEG and the like come in class folders or a manifest"),
    "no_label": (
        "no label is known",
        "add it to the table, data.dicom.labels or label_rules; right if it is not of the study",
    ),
    "no_picture": (
        "a DICOM object without rows and columns",
        "nothing: reports and directories are passed over",
    ),
    "not_kept": ("left out by data.dicom.keep", "nothing, if that is what was meant"),
    "repeated": (
        "the same image stands in an earlier file or row of its patient",
        "nothing: the first one counts",
    ),
}


def makes_unusable(kind: str) -> bool:
    """Say whether a problem counts towards data.max_unreadable."""
    return kind.startswith(("image", "record"))


class ImageError(DataError):
    """One image or mask cannot be used; `kind` is the word under which `check_images` counts it."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


class RefusedError(Exception):
    """A picture is whole and cannot be shown rightly; holds its word without "image_" or "mask_" before it."""


def image_error(kind: str) -> ImageError:
    """Make the error for one of `PROBLEMS`, whose sentence names no file."""
    return ImageError(kind, f"{kind}: {advice_on(kind)}")


def advice_on(kind: str) -> str:
    """Say what is wrong and what to do about it."""
    wrong, remedy = PROBLEMS[kind]
    return f"{wrong}; {remedy}"


def advice(kind: str, count: int) -> str:
    """Say how often a problem was met and what to do about it."""
    return f"{kind} {count}: {advice_on(kind)}"
