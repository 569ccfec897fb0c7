"""What some tests need from the machine; where it is missing they say so and are skipped."""

import tempfile
from pathlib import Path

import pytest

from server.services.services import nginx
from shared.errors import ConfigError
from tests.chromium import CHROMIUM, NO_CHROMIUM
from tests.system.disks import small_disk
from tests.system.links import thin_cable


def _missing_nginx() -> str:
    try:
        nginx()
    except ConfigError as error:
        return str(error)
    return ""


BROWSER = pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)
NGINX = pytest.mark.skipif(bool(_missing_nginx()), reason=_missing_nginx() or "nginx is here")


def _missing_links() -> str:
    try:
        with thin_cable(1_000_000):
            return ""
    except OSError as error:
        return f"a slow link needs root, ip, tc and tbf (Debian: iproute2): {error}"


SLOW_LINKS = pytest.mark.skipif(bool(why := _missing_links()), reason=why or "links can be slowed here")


def _missing_disks() -> str:
    try:
        with tempfile.TemporaryDirectory() as scratch, small_disk(Path(scratch) / "disk", 2**20):
            return ""
    except OSError as error:
        return f"a disk that is full needs root, and to mount a tmpfs: {error}"


SMALL_DISKS = pytest.mark.skipif(
    bool(why := _missing_disks()), reason=why or "small disks can be mounted here"
)
