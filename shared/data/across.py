"""What is wrong between rows rather than in one? Rows of all patients come in, words for people go out.

At a hospital nothing here changes what becomes of any row: whoever stands in it counts as before, and `rounds-site
check` tells. A strict reading, of public sets and simulations, refuses. Nothing of it leaves.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from shared.data.patients import Found, LeftOut, Row


def across(rows: Sequence[Row], source: Path) -> list[LeftOut]:
    """Return what no row shows by itself: one picture under two patients, two spellings of one identifier, no split.

    None of it is anybody's (`LeftOut.patient_id` is empty), since both patients keep what they have.
    """
    return [*_shared(rows, source), *_alike(rows, source), *_unsplit(rows)]


def settled(found: Iterable[Found], where: Path) -> Iterator[Found]:
    """Count a picture once that a patient's rows name more often; leave it out where they contradict each other.

    Looks at one patient's rows at a time, so nobody else decides about them.
    """
    kept: dict[tuple[str, str, str], Row] = {}
    for one in found:
        if not isinstance(one, Row):
            yield one
            continue
        first = kept.setdefault((one.site, one.patient_id, picture(one)), one)
        if first is one:
            yield one
        elif first.label != one.label:
            refusal = (
                f"label is {first.label[:40]!r} and {one.label[:40]!r} for one picture of one patient of {where}, "
                "allowed is one; correct its rows"
            )
            yield LeftOut("record_contradicts", one.patient_id, one.site, one.file, refusal)
            yield one  # its label may be told as well
        elif first.split != one.split:
            yield one  # a patient in two splits is told as such
        else:
            yield LeftOut("repeated", site=one.site, file=one.file)


def picture(row: Row) -> str:
    """Return what is the same for two rows of one picture."""
    if row.picture:
        return row.picture
    path = os.fspath(row.file)  # a Path has no // and no /./ in it
    if ".." in path:
        path = os.path.normpath(path)
    return path if row.index is None else f"{path}\0{row.split}\0{row.index}"


def _shared(rows: Iterable[Row], source: Path) -> list[LeftOut]:
    patients: dict[str, set[str]] = defaultdict(set)
    files: dict[str, Path] = {}
    for row in rows:
        name = picture(row)
        patients[name].add(row.patient_id)
        files[name] = row.file
    found = [name for name, some in patients.items() if len(some) > 1]
    refusal = (
        f"file stands with more than one patient_id for {len(found)} files of {source}, allowed is one patient a "
        "file, since a person of two identifiers is protected as two; correct their rows"
    )
    return [LeftOut("record_shared", file=files[name], refusal=refusal) for name in found]


def _alike(rows: Iterable[Row], source: Path) -> list[LeftOut]:
    spellings: dict[str, dict[str, Path]] = defaultdict(dict)
    for row in rows:
        if row.spelt:
            spellings[row.spelt].setdefault(row.patient_id, row.file)
    found = [file for some in spellings.values() if len(some) > 1 for file in some.values()]
    refusal = (
        f"patient_id is spelt in more than one way for {len(found)} identifiers of {source} (zeros in front, 7.0 for "
        "7, case, spaces or Unicode form), allowed is one spelling, since a person of two identifiers is protected as "
        "two; correct their rows"
    )
    return [LeftOut("patient_alike", file=file, refusal=refusal) for file in found]


def _unsplit(rows: Sequence[Row]) -> list[LeftOut]:
    """Tell rows without a split where others have one; where none has, patients are divided by a hash as ever."""
    without = [row for row in rows if not row.split]
    return [LeftOut("unsplit", file=row.file) for row in without] if len(without) < len(rows) else []
