"""What is in an image, as a bill of materials: Debian's packages, and Python's as pip installed them (CycloneDX 1.6).

In: the mounted root of an image. Out: JSON that CycloneDX's own schema accepts. What a wheel bundles is not listed.
"""

import re
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from deploy.images.storage import ImageError

PACKAGES = "opt/rounds/lib/python3.*/site-packages"
_STATUS = "var/lib/dpkg/status"
_LONGEST_LICENCE = 60  # longer ones are the whole text


def bill_of(root: Path, image: str, digest: str) -> Bom:
    """List the packages of an image whose root is mounted, with who needs whom among Python's."""
    name, _, version = image.rpartition("/")[2].partition(":")
    image_itself = Component(type=ComponentType.CONTAINER, name=name, version=version or None, bom_ref=image)
    image_itself.properties.add(Property(name="image:digest", value=digest))
    bom = Bom(components=[*debian_packages(root)])
    bom.metadata.component = image_itself
    python = {canonicalize_name(one.metadata["Name"]): one for one in installed(root)}
    parts = {known: _python_component(one) for known, one in python.items()}
    bom.components.update(parts.values())
    for known, one in python.items():
        bom.register_dependency(parts[known], [parts[need] for need in _needs(one) if need in parts])
    bom.register_dependency(image_itself, list(bom.components))
    return bom


def as_json(bom: Bom) -> str:
    """Write a bill; `ImageError` where CycloneDX's schema does not accept it."""
    text = str(JsonV1Dot6(bom).output_as_string(indent=1))
    if wrong := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise ImageError(f"bill of materials: its schema refuses it: {str(wrong)[:200]}")
    return text


def debian_packages(root: Path) -> Iterator[Component]:
    """Read dpkg's list of what is installed."""
    for block in (root / _STATUS).read_text(encoding="utf-8").split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.+)$", block, re.MULTILINE))
        if fields.get("Status") == "install ok installed":
            name, version = fields["Package"], fields["Version"]
            url = PackageURL("deb", "debian", name, version, {"arch": fields["Architecture"]})
            yield Component(
                name=name, version=version, purl=url, bom_ref=str(url), description=fields.get("Description")
            )


def installed(root: Path) -> list[Distribution]:
    """List what pip installed."""
    (folder,) = root.glob(PACKAGES)
    return list(distributions(path=[str(folder)]))


def _python_component(one: Distribution) -> Component:
    name, version = one.metadata["Name"], one.version
    url = PackageURL("pypi", None, canonicalize_name(name), version)
    told = _told(one, "License-Expression") or _told(one, "License")
    known = (
        [LicenseFactory().make_from_string(told)]
        if told and "\n" not in told and len(told) < _LONGEST_LICENCE
        else []
    )
    return Component(
        name=name, version=version, purl=url, bom_ref=str(url), licenses=known,
        description=_told(one, "Summary"),
    )  # fmt: skip


def _told(one: Distribution, field: str) -> str:
    return str((one.metadata.get_all(field) or [""])[0])


def _needs(one: Distribution) -> list[NormalizedName]:
    """Return the names of what a distribution needs here, without extras."""
    needs = map(Requirement, one.requires or ())
    return [
        canonicalize_name(need.name)
        for need in needs
        if need.marker is None or need.marker.evaluate({"extra": ""})
    ]
