"""An app bundle made of a folder of sources, as `flwr build` makes it."""

import warnings
from pathlib import Path

from flwr.cli.build import build_fab_from_disk


def built_bundle(root: Path) -> bytes:
    """Return the .fab file of the app whose pyproject.toml is in this folder."""
    with warnings.catch_warnings():  # Flower's build uses an old name of a pattern of pathspec
        warnings.simplefilter("ignore", DeprecationWarning)
        return bytes(build_fab_from_disk(root))
