"""How fast the dashboard's pages are on a large store, with twenty readers at once.

`python -m tests.benchmarks.dashboard_load` makes a store of 1,000 rounds, 50 sites, 20 classes and 500 reference images
(or takes `--store`), serves it by `rounds-hub dashboard serve` with two processes, and asks each page with wrk from
Debian, over twenty connections without a pause between requests. It prints, for each page, the 50th and 95th
percentile, the bytes that travel compressed with everything the page loads, and the number of its requests. The same is
measured once more while a record a second is appended, as in a running study, so that no page is in memory for long.
"""

import argparse
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import sqlalchemy as sa

from server.dashboard.auth import sessions
from server.store.append import append_own
from server.store.database import open_store, writing
from server.store.record_kinds import EventBody
from server.store.schema import ACCOUNTS
from tests.audit_records import SMALL_UID, big_study, fill

PAGES = ("/studies", "", "/explanations", "/privacy", "/sites", "/model", "/events")
READERS, SECONDS, READER = 20, 8, "load"
SCRIPT = """
wrk.headers["Cookie"] = os.getenv("ROUNDS_COOKIE")
wrk.headers["Accept-Encoding"] = "gzip"
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %f %f %d %d\\n", latency:percentile(50) / 1000, latency:percentile(95) / 1000,
    summary.requests, e.status + e.connect + e.read + e.write + e.timeout))
end
"""
HEAD = f"{'page':16} {'p50 ms':>8} {'p95 ms':>8} {'p95 live':>9} {'answers':>8} {'errors':>7} {'kB':>6} {'requests':>9}"
LOADED = re.compile(r'(?:src|href)="(/(?:static|maps|blobs|studies)[^"]*\.(?:css|js|svg|png)[^"]*)"')


@dataclass(frozen=True)
class Measured:
    """One page: milliseconds, requests and bytes that it takes, and how many answers were not 200."""

    page: str
    p50_ms: float
    p95_ms: float
    live_p95_ms: float
    num_answers: int
    num_errors: int
    compressed_bytes: int
    num_requests: int

    def line(self) -> str:
        """Write one line of the table."""
        times = f"{self.p50_ms:8.1f} {self.p95_ms:8.1f} {self.live_p95_ms:9.1f}"
        counts = f"{self.num_answers:8} {self.num_errors:7} {self.compressed_bytes / 1000:6.0f} {self.num_requests:9}"
        return f"{self.page:16} {times} {counts}"


def main() -> int:
    """Print the table; exit status 1 when a page breaks a limit of the issue or answers wrongly."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", type=Path, help="a store that was made before; kept")
    parser.add_argument("--json", type=Path, help="where the figures go")
    asked = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk: is not installed; apt-get install wrk")
    with tempfile.TemporaryDirectory() as scratch:
        store = asked.store or Path(scratch) / "store.sqlite"
        if not store.exists():
            print("making the store", flush=True)
            engine = open_store(store)
            fill(engine, big_study())
            engine.dispose()
        measured = list(measure(store, Path(scratch)))
    if asked.json:
        asked.json.write_text(
            json.dumps([asdict(one) for one in measured], indent=1) + "\n", encoding="utf-8"
        )
    bad = [
        one.page
        for one in measured
        if one.p95_ms > 300 or one.compressed_bytes > 300_000 or one.num_requests > 40
    ]
    wrong = [one.page for one in measured if one.num_errors]
    print(f"over a limit (300 ms, 300 kB, 40 requests): {', '.join(bad) or 'none'}")
    print(f"wrong answers: {', '.join(wrong) or 'none'}")
    return 1 if bad or wrong else 0


def measure(store: Path, scratch: Path) -> Iterator[Measured]:
    """Measure every page over one store."""
    engine = open_store(store)
    cookie = f"rounds={log_in(engine)}"
    script = scratch / "wrk.lua"
    script.write_text(SCRIPT, encoding="utf-8")
    print(HEAD)
    with served(store) as address:
        for page in PAGES:
            path = page if page == "/studies" else f"/studies/{SMALL_UID}{page}"
            size, requests = weight(address, path, cookie)
            p50, p95, answers, errors = load(address + path, cookie, script)
            with appending(engine):
                _, live, _, more = load(address + path, cookie, script)
            one = Measured(page or "study", p50, p95, live, answers, errors + more, size, requests)
            print(one.line(), flush=True)
            yield one
    engine.dispose()


def log_in(engine: sa.Engine) -> str:
    """Make a reader with a session, as a login would; returns the cookie."""
    with writing(engine).begin() as connection:
        if connection.execute(sa.select(ACCOUNTS).where(ACCOUNTS.c.name == READER)).first() is None:
            values = {
                "name": READER,
                "role": "viewer",
                "password": "",
                "must_change": False,
                "disabled": False,
            }
            connection.execute(sa.insert(ACCOUNTS).values(values | {"created": datetime.now(UTC)}))
        return sessions.begin(connection, READER)


@contextmanager
def served(store: Path) -> Iterator[str]:
    """Serve the store with two processes; returns the address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{free.getsockname()[1]}"
    words = ["dashboard", "serve", "--store", str(store), "--listen", listen, "--workers", "2"]
    process = subprocess.Popen([sys.executable, "-m", "server.main", *words], stdout=subprocess.DEVNULL)
    try:
        with httpx.Client(transport=httpx.HTTPTransport(retries=8)) as client:
            assert client.get(f"http://{listen}/health", timeout=60).status_code == 200
        yield f"http://{listen}"
    finally:
        process.terminate()
        process.wait(timeout=60)


def weight(address: str, path: str, cookie: str) -> tuple[int, int]:
    """Return the bytes that travel for a page with all that it loads, and the number of requests."""
    headers = {"cookie": cookie, "accept-encoding": "gzip"}
    with httpx.Client(base_url=address, headers=headers, timeout=60) as client:
        page = client.get(path)
        assert page.status_code == 200, f"{path}: {page.status_code}"
        parts = sorted({part.replace("&amp;", "&") for part in LOADED.findall(page.text)})
        answers = [page, *(client.get(part) for part in parts)]
    return sum(one.num_bytes_downloaded for one in answers), len(answers)


def load(url: str, cookie: str, script: Path) -> tuple[float, float, int, int]:
    """Return 50th and 95th percentile in milliseconds, answers, and errors of twenty readers without pause."""
    words = ["wrk", "-t1", f"-c{READERS}", f"-d{SECONDS}s", "--timeout", "30s", "-s", str(script), url]
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=True,
        env={"ROUNDS_COOKIE": cookie, "PATH": "/usr/bin:/bin"},
    )
    found = re.search(r"RESULT (\S+) (\S+) (\d+) (\d+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    return float(found[1]), float(found[2]), int(found[3]), int(found[4])


@contextmanager
def appending(engine: sa.Engine) -> Iterator[None]:
    """Append a record a second meanwhile."""
    end = threading.Event()

    def append() -> None:
        while not end.wait(1):
            with writing(engine).begin() as connection:
                append_own(connection, "load", SMALL_UID, EventBody(event="load", what="a record a second"))

    thread = threading.Thread(target=append)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


if __name__ == "__main__":
    sys.exit(main())
