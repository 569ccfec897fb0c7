"""The environment in which Flower's processes run: one home of their own, and nothing asked of the network.

Hub, site and simulation start Flower with it. As shipped, Flower (1.41) reports home, looks for updates, installs an
app's dependencies from the package index and keeps apps and settings in the home folder of whoever started it.
"""

import os
import sys
from pathlib import Path

QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_worker_niceness": "0",  # Ray's 15 lets simulated sites starve beside any other job: 10 s a round became 60
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
}


def flower_environment(home: Path) -> dict[str, str]:
    """Return this process's environment with the switches above, and `home` as Flower's own folder.

    Flower trusts what it finds in its home (an app once unpacked is not checked again), so `home` must be new.
    """
    path = f"{bin_folder()}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, **QUIET, **direct_loopback(), "FLWR_HOME": str(home), "PATH": path}


def direct_loopback() -> dict[str, str]:
    """Return the switches by which this machine's own processes are reached past any proxy for the outside."""
    direct = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if "127.0.0.1" not in direct.split(","):
        direct = f"{direct},127.0.0.1,localhost".removeprefix(",")
    return {"no_proxy": direct, "NO_PROXY": direct}


def bin_folder() -> Path:
    """Return the folder of this Python's programs, where Flower's own are."""
    return Path(sys.executable).parent
