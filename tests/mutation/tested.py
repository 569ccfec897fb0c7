"""Running tests on a copy of the sources, many times, without loading the libraries each time.

In: a copy, what to run there. Out: whether all passed. The libraries, which take most of a short run, are loaded once;
each run is a fork of the process that has them, and imports the copy's own modules anew.
"""

import compileall
import importlib
import multiprocessing
import os
import py_compile
import sys
import warnings
from contextlib import suppress
from pathlib import Path

import pytest

LIBRARIES = (
    "torch", "torchvision", "timm", "opacus", "dp_accounting", "scipy.stats", "scipy.optimize", "PIL.Image",
    "cryptography", "pydantic", "safetensors.torch", "fastapi", "sqlalchemy", "alembic", "httpx", "uvicorn", "pydicom",
    "imagecodecs", "flwr.serverapp", "flwr.clientapp", "flwr.simulation",
)  # fmt: skip


PROJECT = {"client", "server", "shared", "deploy", "tests"}


def load_libraries() -> None:
    """Load what the tests' modules load, but nothing of the project."""
    os.environ["OMP_NUM_THREADS"] = "1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in LIBRARIES:
            with suppress(ImportError):
                importlib.import_module(name)


def compile_copy(copy: Path) -> None:
    """Compile every module of a copy, to be used as long as its source is the same to the byte."""
    mode = py_compile.PycInvalidationMode.CHECKED_HASH
    compileall.compile_dir(str(copy), quiet=2, invalidation_mode=mode)


def passes(copy: Path, tests: list[str], seconds: float | None) -> bool:
    """Run tests on a copy until one fails; more than so many seconds is no pass."""
    process = multiprocessing.get_context("fork").Process(target=_run, args=(copy, tests))
    process.start()
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join()
    return process.exitcode == 0


def _run(copy: Path, tests: list[str]) -> None:
    os.chdir(copy)
    away = {"", str(Path(__file__).parents[2])}
    sys.path[:] = [str(copy), *(one for one in sys.path if one not in away)]
    sys.dont_write_bytecode = True
    os.environ |= {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    for name in [name for name in sys.modules if name.split(".")[0] in PROJECT]:
        del sys.modules[name]
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    os._exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--assert=plain", *tests]))
