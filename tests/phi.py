"""Search files for planted identifiers: values and folders come in, the places where one stands go out."""

import base64
import csv
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

# A few bytes also occur by chance in weights and noise: shorter values, and common words, prove nothing.
SHORTEST = 5
COMMON = frozenset({"none", "Chest frontal", "CHEST ROUTINE"})
ARCHIVES = frozenset({".npz", ".fab"})
_INSIDE = re.compile(rb"(?<=;base64,)[A-Za-z0-9+/=]+")
ENCODINGS = ("utf-8", "latin-1", "gb18030", "iso2022_jp", "shift_jis")


def planted_values(pack: Path) -> list[str]:
    """Return the values of the pack's `dicom/phi_values.csv` that can be searched for, and parts of names."""
    with (pack / "dicom" / "phi_values.csv").open(newline="", encoding="utf-8") as file:
        rows = [(row["where"], row["value"].strip()) for row in csv.DictReader(file)]
    values = {value for _, value in rows}
    # parts of patients' names only: Record and Operator, invented names of staff, are words of any log
    values |= {
        part for where, value in rows if where == "PatientName" for part in value.replace("=", "^").split("^")
    }
    return sorted(value for value in values if len(value.encode()) >= SHORTEST and value not in COMMON)


def contents(roots: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of all files below the roots, and of what archives (.npz, .fab) hold.

    Pictures inside pages are searched as they are, not in base64: any five letters stand in a megabyte of that.
    """
    for path in (path for root in roots for path in root.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if path.suffix == ".html":
            yield f"{path}: pictures", b"\n".join(base64.b64decode(one) for one in _INSIDE.findall(content))
            content = _INSIDE.sub(b"", content)
        yield str(path), path.name.encode() + b"\n" + content
        if path.suffix in ARCHIVES:  # a database that keeps one near its end looks like one, too
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    yield f"{path}:{name}", archive.read(name)


def where_found(values: Iterable[str], places: Mapping[str, bytes]) -> list[tuple[str, str]]:
    """Return (place, value) wherever a value stands, in any of the encodings that could carry it."""
    needles = [(value, needle) for value in values for needle in _encoded(value)]
    return [
        (name, value) for name, content in places.items() for value, needle in needles if needle in content
    ]


def _encoded(value: str) -> set[bytes]:
    found = set()
    for encoding in ENCODINGS:
        try:
            found.add(value.encode(encoding))
        except UnicodeEncodeError:
            continue
    return found
