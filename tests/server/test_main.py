"""`rounds-hub` as it is installed: what keeps services running for weeks is light."""

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_services_start_without_the_models_libraries() -> None:
    """Supervisor, registry and feed each run for weeks; torch alone would take 500 MB in every one of them."""
    script = (
        "import sys, server.service_commands; print({'torch', 'scipy', 'timm', 'opacus'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
