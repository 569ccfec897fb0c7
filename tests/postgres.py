"""A real PostgreSQL from the distribution, on a Unix socket in a folder of its own, for tests alone.

Debian keeps the server's programs out of PATH. PostgreSQL refuses to be run by root: it runs as `postgres` then.
"""

import ctypes
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import sqlalchemy as sa

DATABASE = "postgres"
_SECONDS = 60
_NUMBERS = itertools.count()


def missing_postgres() -> str:
    """Return why no server can be started here; empty where one can."""
    if _programs() is None:
        return "PostgreSQL is not here: install it (Debian: apt-get install postgresql)"
    if os.geteuid() == 0 and _account() is None:
        return "PostgreSQL is not run by root, and there is no account `postgres` to run it"
    return ""


@contextmanager
def postgres_server() -> Iterator[str]:
    """Run a server while the block lasts; yields the URL of its first database, to which more can be added."""
    programs = _programs()
    assert programs is not None, missing_postgres()
    with tempfile.TemporaryDirectory(
        prefix="pg", ignore_cleanup_errors=True
    ) as scratch:  # sockets want short paths
        folder, account = Path(scratch), _account() if os.geteuid() == 0 else None
        if account is not None:
            os.chown(folder, account.pw_uid, account.pw_gid)
        run_as = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": ()} if account else {}
        data = folder / "data"
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", "rounds", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C"],
            check=True, stdout=subprocess.DEVNULL, cwd=folder, env=_quiet(), **run_as,
        )  # fmt: skip
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [programs / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"],
                stdout=log, stderr=log, cwd=folder, env=_quiet(), **run_as,
                preexec_fn=_end_with_us,  # noqa: PLW1509 - it takes no lock that another thread could hold
            )  # fmt: skip
        try:
            _wait(programs, folder, server)
            yield f"postgresql://rounds@/{DATABASE}?host={folder}"
        finally:
            with suppress(psutil.NoSuchProcess):
                psutil.Process(server.pid).send_signal(signal.SIGQUIT)  # at once: nobody will miss the data
            server.wait(_SECONDS)


def new_database(server: str) -> str:
    """Make a database on the server and return its URL."""
    name = f"store{next(_NUMBERS)}"
    url = sa.make_url(server).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE template0")
    engine.dispose()
    return sa.make_url(server).set(database=name).render_as_string(hide_password=False)


def _programs() -> Path | None:
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    versions = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3])
    )
    return versions[-1].parent if versions else None


def _account() -> pwd.struct_passwd | None:
    with suppress(KeyError):
        return pwd.getpwnam("postgres")
    return None


def _quiet() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}


def _end_with_us() -> None:
    """Let the kernel end the server with this process, however that ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGQUIT)


def _wait(programs: Path, folder: Path, server: subprocess.Popen[bytes]) -> None:
    """Ask until the server takes connections: it has no other way to say so."""
    end = time.monotonic() + _SECONDS
    while subprocess.run(
        [programs / "pg_isready", "-q", "-h", folder, "-d", DATABASE], check=False, env=_quiet()
    ).returncode:
        log = (folder / "log").read_text(errors="replace")
        assert server.poll() is None, f"PostgreSQL ended: {log}"
        assert time.monotonic() < end, f"PostgreSQL does not answer: {log}"
        time.sleep(0.05)
