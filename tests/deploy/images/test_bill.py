"""The bill of materials of an image: what dpkg and pip say is installed there, in CycloneDX."""

import json
from pathlib import Path

from deploy.images.bill import as_json, bill_of
from deploy.images.inside import Finding
from deploy.images.make import Shown, table

STATUS = """\
Package: nginx-light
Status: install ok installed
Architecture: amd64
Version: 1.22.1-9+deb12u9
Description: nginx web server
 in several lines

Package: removed
Status: deinstall ok config-files
Architecture: amd64
Version: 1.0
"""
INSTALLED = {
    "Torch_X": (
        "2.13.0+cpu",
        "License-Expression: BSD-3-Clause\nRequires-Dist: jinja2\nRequires-Dist: no; extra == 'x'",
    ),
    "Jinja2": ("3.1.6", "License: BSD\nSummary: templates"),
}  # fmt: skip


def root(folder: Path) -> Path:
    """Make a root with one package of Debian's and two of Python's."""
    (folder / "var/lib/dpkg").mkdir(parents=True)
    (folder / "var/lib/dpkg/status").write_text(STATUS)
    for name, (version, more) in INSTALLED.items():
        info = folder / "opt/rounds/lib/python3.11/site-packages" / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{more}\n")
    return folder


def test_the_bill_lists_what_is_installed(tmp_path: Path) -> None:
    """Each package has its package URL, name and version; what was removed is not listed; the schema accepts it."""
    text = as_json(bill_of(root(tmp_path), "localhost/teaching-rounds-site:0.1.0", "sha256:ab"))
    bill = json.loads(text)
    assert {one["purl"]: (one["name"], one["version"]) for one in bill["components"]} == {
        "pkg:deb/debian/nginx-light@1.22.1-9%2Bdeb12u9?arch=amd64": ("nginx-light", "1.22.1-9+deb12u9"),
        "pkg:pypi/torch-x@2.13.0%2Bcpu": ("Torch_X", "2.13.0+cpu"),
        "pkg:pypi/jinja2@3.1.6": ("Jinja2", "3.1.6"),
    }
    image = bill["metadata"]["component"]
    assert (image["name"], image["version"]) == ("teaching-rounds-site", "0.1.0")
    assert bill["bomFormat"] == "CycloneDX"


def test_the_bill_says_who_needs_whom(tmp_path: Path) -> None:
    """The image needs all, a Python package what its metadata names here, extras left out."""
    bill = json.loads(as_json(bill_of(root(tmp_path), "localhost/site:1", "sha256:ab")))
    needs = {one["ref"]: one.get("dependsOn", []) for one in bill["dependencies"]}
    assert len(needs["localhost/site:1"]) == 3
    assert needs["pkg:pypi/torch-x@2.13.0%2Bcpu"] == ["pkg:pypi/jinja2@3.1.6"]


def test_the_table_has_a_line_an_image() -> None:
    """Size, user, health, number of packages, and how many rules hold."""
    findings = [Finding("one"), Finding("two", ("etc/pip.conf",))]
    shown = [
        Shown(
            "localhost/teaching-rounds-site:0.1.0", 1_400_000_000, 1_200_000_000, "10001:10001", 220, findings
        )
    ]
    (line,) = [one for one in table(shown, "ok") if "teaching-rounds-site" in one]
    assert line.split() == [
        "teaching-rounds-site:0.1.0", "1.40", "GB", "1.20", "GB", "10001:10001", "ok", "220", "1", "of", "2", "hold",
    ]  # fmt: skip
