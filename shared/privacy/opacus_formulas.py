"""Opacus's formulas alone: its package loads torch for its optimizers, which no accountant needs.

Out: modules of `opacus.accountants.analysis`, from Opacus's own files, under names of ours. Of the rest of Opacus they
want only the class of its RDP accountant, for a function that is not called here: None stands in its place. That they
give what Opacus's own accountants give is tested.
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Final

_NAME: Final = f"{__name__}_files"


def formulas(name: str) -> Any:
    """Import a module of `opacus.accountants.analysis`, such as `rdp`; Opacus has no types."""
    if _NAME not in sys.modules:
        found = find_spec("opacus")  # does not import it
        if found is None or found.origin is None:
            raise ModuleNotFoundError("No module named 'opacus'", name="opacus")
        folder = Path(found.origin).parent
        for inner in ("", ".accountants", ".accountants.analysis"):
            package = ModuleType(_NAME + inner)
            package.__path__ = [str(folder.joinpath(*inner.split(".")))]
            sys.modules[package.__name__] = package
        rdp = ModuleType(f"{_NAME}.accountants.rdp")
        vars(rdp)["RDPAccountant"] = None
        sys.modules[rdp.__name__] = rdp
    return import_module(f"{_NAME}.accountants.analysis.{name}")
