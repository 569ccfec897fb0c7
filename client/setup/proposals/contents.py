"""What lies in a folder? A path comes in; its pictures, DICOM files, tables and arrays go out, and what is none.

Files are listed, not opened, but for those whose name says nothing: DICOM often comes without an ending.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from shared.data.dicom.picture import is_dicom
from shared.data.dicom.source import SUFFIXES as DICOM_SUFFIXES
from shared.data.folder import OTHER_FORMATS
from shared.data.patients import IMAGE_SUFFIXES, LeftOut
from shared.data.told import Told, told_of
from shared.data.tree import files_below
from shared.errors import ConfigError

T = TypeVar("T")
TABLE, ARRAY = ".csv", ".npz"
SPREADSHEETS = frozenset({".xls", ".xlsx", ".ods", ".tsv", ".numbers"})


@dataclass(frozen=True)
class Contents:
    """Files below a source by what they are, each sorted by path, and what is passed over."""

    source: Path
    images: tuple[Path, ...] = ()
    dicom: tuple[Path, ...] = ()
    tables: tuple[Path, ...] = ()
    arrays: tuple[Path, ...] = ()
    passed_over: Told = field(default_factory=Told)
    num_spreadsheets: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing that any reader takes."""
        return not (self.images or self.dicom or self.tables or self.arrays)

    def sentences(self) -> tuple[str, ...]:
        """Say how many files there are of each sort, and what is passed over."""
        sorts = (
            ("pictures", self.images),
            ("DICOM files", self.dicom),
            ("tables", self.tables),
            ("arrays", self.arrays),
        )
        found = tuple(f"{len(files)} {what} ({_endings(files)})" for what, files in sorts if files)
        if self.num_spreadsheets:
            found += (f"{self.num_spreadsheets} spreadsheets, which are not read: save them as 'CSV UTF-8'",)
        return found + self.passed_over.sentences()


def look_into(source: Path) -> Contents:
    """List everything below a folder, or take a single file for what it is.

    Errors: `ConfigError` where there is nothing of this name; `DataError` for a folder that may not be listed.
    """
    if not source.exists():
        raise ConfigError(
            f"source is {source}, where there is nothing that this account may see; check path and rights"
        )
    found = [source] if source.is_file() else files_below(source, lambda _name: True)
    sorts: dict[str, list[Path]] = {"images": [], "dicom": [], "tables": [], "arrays": []}
    left: list[LeftOut] = []
    num_spreadsheets = 0
    for one in found:
        if isinstance(one, LeftOut):
            left.append(one)
            continue
        sort = _sort(one)
        if sort in sorts:
            sorts[sort].append(one)
        elif sort == "spreadsheet":
            num_spreadsheets += 1
        else:
            left.append(LeftOut(sort, file=one))
    files = {name: tuple(sorted(paths)) for name, paths in sorts.items()}
    return Contents(source, **files, passed_over=told_of(left), num_spreadsheets=num_spreadsheets)


def _sort(path: Path) -> str:
    ending = path.suffix.lower()
    known = {TABLE: "tables", ARRAY: "arrays"} | dict.fromkeys(SPREADSHEETS, "spreadsheet")
    known |= dict.fromkeys(IMAGE_SUFFIXES, "images") | dict.fromkeys(DICOM_SUFFIXES, "dicom")
    if ending in known:
        return known[ending]
    if ending not in OTHER_FORMATS and is_dicom(path):
        return "dicom"
    return "other_format" if ending in OTHER_FORMATS else "other_file"


def _endings(files: Iterable[Path]) -> str:
    counted = Counter(path.suffix.lower() or "no ending" for path in files)
    return ", ".join(f"{ending} {number}" for ending, number in counted.most_common(4))


def evenly(items: Sequence[T], most: int) -> list[T]:
    """Return at most `most` items, from the first to the last at equal distances; the same ones each time."""
    if len(items) <= most:
        return list(items)
    return [items[place * len(items) // most] for place in range(most)]
