"""What a data source holds, as one digest: another picture, label, identifier or split, or one row less, changes it.

In: a source as its reader reads it. Out: SHA-256 over its rows and the bytes of the files that they name. A file that
still has the size, times and inode of an earlier look is not read again.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from server.public_data.images import Progress
from shared.config.site_data import DicomData
from shared.config.study import Task
from shared.data.patients import Found, Row
from shared.data.sources import describe_source, read_records
from shared.whole_file import whole_file

_BLOCK_BYTES = 1 << 20
_SETTLED_SECONDS = 2.0  # a file that changed so lately could change again within one tick of its clock
Look = tuple[int, int, int, int]  # size, times of content and of inode in ns, inode


def contents_digest(
    source: Path, task: Task, dicom: DicomData | None, known: Path, progress: Progress
) -> str:
    """Return the digest of all that preparing reads of a source; `known` is where looks at files are kept.

    `DataError` for a source that cannot be read, as reading it gives.
    """
    source = source.resolve()
    rows = read_records(source, task, dicom)
    digest = hashlib.sha256(json.dumps([str(source), *describe_source(source, task, dicom)]).encode())
    for line in sorted(repr(row) for row in rows):
        digest.update(hashlib.sha256(line.encode("utf-8", "surrogateescape")).digest())
    for file in _digests(sorted(set(_files(rows))), known, progress):
        digest.update(file.encode())
    return digest.hexdigest()


def _files(rows: Sequence[Found]) -> Iterator[Path]:
    for row in rows:
        if isinstance(row, Row):
            yield from (path for path in (row.file, row.mask, row.lesion_mask) if path is not None)


def _digests(files: Sequence[Path], known: Path, progress: Progress) -> Iterator[str]:
    """Yield the digest of each file's bytes, "missing" where there is none: preparing says what is wrong with it."""
    looks = _read_looks(known)
    now: dict[str, tuple[Look, str]] = {}
    for done, path in enumerate(files, start=1):
        name = os.fsencode(path).hex()
        look = _look(path)
        found = looks.get(name)
        digest = "missing" if look is None else found[1] if found and found[0] == look else _file_digest(path)
        if look is not None and look == _look(path) and _is_settled(look):
            now[name] = (look, digest)
        yield digest
        progress("files of the data, looked at", done, len(files))
    if now != looks:
        _write_looks(known, now)


def _look(path: Path) -> Look | None:
    try:
        found = path.stat()
    except (OSError, ValueError):  # a ValueError for a NUL in the path
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _is_settled(look: Look) -> bool:
    return time.time() - max(look[1], look[2]) / 1e9 > _SETTLED_SECONDS


def _file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    except OSError:
        return "missing"
    return digest.hexdigest()


def _read_looks(known: Path) -> dict[str, tuple[Look, str]]:
    """Read earlier looks; none where there are none, or they are damaged: then every file is read."""
    try:
        kept: dict[str, list[object]] = json.loads(known.read_text(encoding="utf-8"))
        return {name: (_as_look(values[:-1]), str(values[-1])) for name, values in kept.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _as_look(values: Iterable[object]) -> Look:
    size, changed, touched, inode = (int(str(value)) for value in values)
    return size, changed, touched, inode


def _write_looks(known: Path, looks: dict[str, tuple[Look, str]]) -> None:
    known.parent.mkdir(parents=True, exist_ok=True)
    plain = {name: [*look, digest] for name, (look, digest) in looks.items()}
    with whole_file(known, durable=False) as part:
        part.write_text(json.dumps(plain), encoding="utf-8")
