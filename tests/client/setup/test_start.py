"""How setup starts: other commands do not wait for what it needs, and it waits for no model library itself."""

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "timm", "flwr", "ray", "opacus")
SHOW = "import json, sys; print(json.dumps([one for one in {names!r} if one in sys.modules]))"


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("client.cli.program", (*HEAVY, "pydicom", "numpy", "ruamel", "client.setup.command")),
        ("client.setup.command", HEAVY),
    ],
)
def test_what_is_not_needed_is_not_imported(module: str, names: tuple[str, ...]) -> None:
    """Other commands start without any of it; its own questions come without torch."""
    line = f"import {module}; {SHOW.format(names=names)}"
    found = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    assert json.loads(found.stdout) == []
