"""How a hospital's own data is read: where it lies, what its labels, columns and files are called there.

Part of `site.yaml`, which never leaves. What is named here changes which records are read, and of whom, so it is the
hospital's alone.
"""

import re
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from shared.config.naming import Naming, TextRule
from shared.config.values import Setting

TABLE_COLUMNS = ("file", "label", "site", "patient_id", "split", "mask", "index", "lesion_mask", "text_rule")


class DicomData(Setting):
    """How DICOM files get their labels, which of them count, and what is done about text burned into them.

    Labels come from a CSV (`labels`, found by `label_key`) or from one tag by rule (`label_tag`, `label_rules`). A
    pattern holds * for any characters; upper and lower case are the same. Relative paths start at the source folder.
    """

    labels: Path | None = Field(None, description="CSV with the columns label and label_key")
    label_key: Literal["sop_instance_uid", "accession_number"] = "sop_instance_uid"
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="label and label_key: what the table itself calls them, such as {label: finding}",
    )
    label_tag: str | None = Field(None, description="keyword such as StudyDescription, or 0008,1030")
    label_rules: dict[str, str] = Field(
        default_factory=dict, description="pattern of the tag's value: label; the first that fits counts"
    )
    keep: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="tag: patterns, one of which must fit, such as ViewPosition: [PA, AP]",
    )
    text: TextRule = Field(
        "refuse",
        description="refuse flagged and suspected burned-in text, only flagged (refuse_flagged), or none",
    )
    reviewed: Path | None = Field(
        None, description="file with a path a line: pictures a person has looked at, whose text names nobody"
    )

    @model_validator(mode="after")
    def _labels_have_one_origin(self) -> Self:
        if (self.labels is None) == (self.label_tag is None):
            given = "neither" if self.labels is None else "both"
            raise ValueError(
                f"labels and label_tag: {given} given, allowed is one of them; correct data.dicom"
            )
        if (self.label_tag is None) == bool(self.label_rules):
            raise ValueError(
                f"label_rules has {len(self.label_rules)} rules and label_tag is {self.label_tag!r}, needed are "
                "both or neither; correct data.dicom"
            )
        return self

    @model_validator(mode="after")
    def _columns_are_of_the_table(self) -> Self:
        if self.columns and self.labels is None:
            raise ValueError("columns are given without labels, the table that has them; remove them")
        _check_columns(self.columns, ("label", self.label_key), "columns of data.dicom")
        return self

    @model_validator(mode="after")
    def _tags_are_known(self) -> Self:
        for field, name in (("label_tag", self.label_tag), *(("keep", one) for one in self.keep)):
            if name is not None and tag_number(name) is None:
                raise ValueError(
                    f"{field} is {name!r}, allowed is a DICOM keyword such as StudyDescription or a number such as "
                    "0008,1030; correct it"
                )
        empty = [name for name, patterns in self.keep.items() if not patterns]
        if empty:
            raise ValueError(
                f"keep has no pattern for {empty[0]}, needed is at least one; add it or remove the tag"
            )
        return self


def tag_number(name: str) -> int | None:
    """Return the number of a DICOM tag by keyword or by its eight hexadecimal digits; None when it is neither."""
    from pydicom.datadict import tag_for_keyword  # noqa: PLC0415 - takes half a second; few sites name a tag

    number = tag_for_keyword(name)
    digits = re.sub(r"[(),\s]", "", name)
    return (
        number if number is not None else int(digits, 16) if re.fullmatch(r"[0-9A-Fa-f]{8}", digits) else None
    )


class SiteData(Setting):
    """Where the images are: a manifest, class folders, or with `dicom` a folder or list of DICOM."""

    source: Path
    dicom: DicomData | None = None
    site: str | None = Field(None, description="keep only the manifest's rows of this site")
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="column of ours: what the table itself calls it, such as {file: image, patient_id: subject}",
    )
    patient_pattern: str | None = Field(
        None,
        description="regular expression on a picture's path: what its groups hold names the patient, where no column "
        "or patients.csv does",
    )
    label_map: dict[str, str] = Field(
        default_factory=dict, description="label in the data: class of the study"
    )
    max_unreadable: float = Field(
        0.02, ge=0, le=1, description="share of unreadable images past which we stop"
    )

    @property
    def naming(self) -> Naming:
        """What the data calls its columns, and whose a file is."""
        return Naming(self.columns, self.patient_pattern)

    @field_validator("patient_pattern")
    @classmethod
    def _pattern_names_somebody(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                groups = re.compile(pattern).groups
            except re.error as error:
                raise ValueError(f"no regular expression ({error}); correct it") from None
            if not groups:
                raise ValueError(
                    "needed is a group in brackets that holds the patient, such as (person[0-9]+)_; add it"
                )
        return pattern

    @model_validator(mode="after")
    def _names_fit_the_kind(self) -> Self:
        _check_columns(self.columns, TABLE_COLUMNS, "columns of data")
        for field, value in (("columns", self.columns), ("patient_pattern", self.patient_pattern)):
            if value and self.dicom is not None:
                raise ValueError(
                    f"{field} is for tables and class folders, of DICOM files PatientID and data.dicom say all; "
                    "remove it, or data.dicom"
                )
        return self


def _check_columns(columns: dict[str, str], allowed: tuple[str, ...], what: str) -> None:
    """Refuse a name that is no column of ours, an empty one, and one that stands for two."""
    for name, own in columns.items():
        if name not in allowed:
            raise ValueError(f"{what} name {name!r}, allowed are {', '.join(allowed)}; correct it")
        if not own.strip():
            raise ValueError(f"{what} give {name} no name; write what the table calls it, or remove the line")
    if len(set(columns.values())) < len(columns):
        raise ValueError(f"{what} give two columns one name; write each column's own")
