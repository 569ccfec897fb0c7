"""The server's process where there is no network: nothing but its own loopback can be reached."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from server.store.database import open_store
from tests.dashboard_site import RUNNING, SMALL, give_password

PARTS = ("", "/explanations", "/privacy", "/sites", "/model", "/events")
REPOSITORY = Path(__file__).parents[3]
UNSHARE = shutil.which("unshare")
# inside the namespace: bring up the loopback, see that nothing else answers, serve, log in and ask for each page
WALK = """
import socket, subprocess, sys
import httpx2 as httpx
from pathlib import Path
from tests.dashboard_server import dashboard
from tests.dashboard_site import PASSWORD
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
try:
    socket.create_connection(("192.0.2.1", 80), timeout=1).close()
except OSError as error:
    print("outside:", error.strerror)
with dashboard(Path(sys.argv[1])) as running:
    with httpx.Client(base_url=running.url, timeout=60, headers={"sec-fetch-site": "same-origin"}) as client:
        client.post("/login", data={"name": "coordinator", "password": PASSWORD})
        for path in sys.argv[2:]:
            answer = client.get(path)
            print(answer.status_code, len(answer.content), path)
"""


def _missing() -> str:
    if UNSHARE is None or shutil.which("ip") is None:
        return "unshare and ip are not here (Debian: util-linux, iproute2)"
    done = subprocess.run([UNSHARE, "-rn", "true"], capture_output=True, text=True, check=False)
    return done.stderr.strip()


@pytest.mark.skipif(bool(_missing()), reason=f"a process without network needs namespaces: {_missing()}")
def test_the_server_needs_no_network(filled: Path, tmp_path: Path) -> None:
    """In a namespace with nothing but a loopback it starts, lets people in and answers every page, and files."""
    assert UNSHARE is not None
    store = Path(shutil.copyfile(filled, tmp_path / "store.sqlite"))
    engine = open_store(store)
    give_password(engine, "coordinator")
    engine.dispose()
    paths = ["/studies", "/connections", "/events", "/people", "/account"]
    paths += [f"/studies/{uid}{part}" for uid in (SMALL, RUNNING) for part in PARTS]
    paths += [f"/studies/{SMALL}/{file}" for file in ("privacy.csv", "model/card.xml", "explanations.csv")]
    done = subprocess.run(
        [UNSHARE, "-rn", sys.executable, "-c", WALK, str(store), *paths],
        cwd=REPOSITORY, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "outside: Network is unreachable" in done.stdout
    answered = re.findall(r"^(\d+) (\d+) (\S+)$", done.stdout, re.MULTILINE)
    assert [path for _, _, path in answered] == paths
    assert {status for status, _, _ in answered} == {"200"}
    assert all(int(size) > 100 for _, size, _ in answered)
