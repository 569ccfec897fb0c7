"""A command loads what it uses: none that only reads and writes small files waits for the models' libraries."""

import json
import os
import subprocess
import sys
from importlib import import_module

import pytest
import typer
import typer.main

from client.cli.program import app as rounds_site
from server.cli.program import app as rounds_hub
from tests.system.commands import MODULES
from tests.typed_commands import ACCOUNTING, COMMANDS, REPOSITORY, Typed, made

# each takes between a third of a second and seven to import
HEAVY = {
    "PIL", "absl", "alembic", "dp_accounting", "fastapi", "flwr", "grpc", "httpx", "huggingface_hub", "imagecodecs",
    "jinja2", "matplotlib", "ofa", "opacus", "pandas", "pydicom", "pypdf", "pytorch_grad_cam", "ray", "safetensors",
    "scipy", "sklearn", "sqlalchemy", "starlette", "tifffile", "timm", "torch", "torchvision", "uvicorn",
}  # fmt: skip
CONTROL = {"flwr", "grpc", "httpx"}  # Flower's Control API
USES = {
    "rounds-hub sites": CONTROL, "rounds-hub admit": CONTROL,  # these ask the SuperLink
    "rounds-site study show": {"absl", "dp_accounting", "scipy"},  # this asks both accountants, but not for torch
}  # fmt: skip
LOADED = """
import json, runpy, sys
module, *sys.argv = sys.argv[1:]
try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
except SystemExit as ended:
    loaded = sorted({name.split(".")[0] for name in sys.modules})
    print("\\n" + json.dumps({"status": ended.code or 0, "loaded": loaded}))
"""
SERVICES = {
    # it looks after runs by the Control API, and sends what studies left
    "server.cli.services": CONTROL | {"fastapi", "sqlalchemy", "starlette"},
    "server.cli.registry": {"fastapi", "starlette", "uvicorn"},
    "server.cli.audit.feed": {"grpc", "sqlalchemy"},
    "server.cli.audit.dashboard": {"PIL", "fastapi", "jinja2", "scipy", "sqlalchemy", "starlette", "uvicorn"},
    "client.cli.node": set(),
}


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Make a hub and an admitted site."""
    return made(tmp_path_factory.mktemp("federation"))


@pytest.mark.parametrize("typed", [*COMMANDS, ACCOUNTING], ids=lambda typed: " ".join(typed.line.split()[:3]))
def test_a_light_command_loads_no_heavy_library(federation: dict[str, str], typed: Typed) -> None:
    """A command that is typed in a fresh process does its work without a library that it does not use."""
    status, loaded = _loaded(typed.program, *typed.words(federation))
    used = next((libraries for start, libraries in USES.items() if typed.line.startswith(start)), set())
    assert (status, loaded & HEAVY - used) == (typed.status, set())


def test_a_study_that_is_shown_again_asks_no_accountant(federation: dict[str, str]) -> None:
    """The figures of the first reading are kept."""
    first, second = (_loaded(ACCOUNTING.program, *ACCOUNTING.words(federation)) for _ in range(2))
    assert (first[0], second[0], second[1] & HEAVY) == (0, 0, set())


@pytest.mark.parametrize(("words", "status"), [(["stduy"], 2), (["study", "--help"], 0)])
def test_who_mistypes_or_asks_waits_for_no_library(words: list[str], status: int) -> None:
    """A name that is no command, and the list of a group's commands, load nothing heavy."""
    ended, loaded = _loaded("rounds-hub", *words)
    assert (ended, loaded & HEAVY) == (status, set())


def test_completing_a_name_imports_no_command() -> None:
    """A shell that asks which commands there are is answered from the table alone."""
    asked = {"_ROUNDS_HUB_COMPLETE": "complete_bash", "COMP_WORDS": "rounds-hub st", "COMP_CWORD": "1"}
    script = "import sys; from server.main import main\ntry: main()\nfinally: print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True,
        env=dict(os.environ) | asked,
    )  # fmt: skip
    *completed, modules = done.stdout.splitlines()
    assert completed == ["plain,study", "plain,store"]
    assert {name for name in modules.split() if name.startswith("server.")} == {
        "server.cli",
        "server.cli.program",
        "server.main",
    }


@pytest.mark.parametrize("module", SERVICES)
def test_what_runs_for_weeks_loads_no_heavy_library(module: str) -> None:
    """Supervisors, registry and feed each run for weeks; torch alone would take 500 MB in every one of them."""
    script = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) & HEAVY <= SERVICES[module]


def test_the_dashboard_loads_of_scipy_special_functions_alone() -> None:
    """They take a quarter of a second of one core; its distributions would take four times as long."""
    script = "import sys, server.cli.audit.dashboard, server.dashboard.app; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "scipy.special" in loaded
    assert (
        loaded & {"scipy.stats", "scipy.optimize", "scipy.sparse", "scipy.signal", "torch", "flwr"} == set()
    )


@pytest.mark.parametrize("program", [rounds_hub, rounds_site], ids=["hub", "site"])
def test_tables_are_what_the_modules_have(program: typer.Typer) -> None:
    """Tables list every command of the modules that they name, with the first paragraph of its own help."""
    tables = [typer.main.get_group(program)]
    for table in tables:
        rows = table.rows
        for row in rows.values():
            own = row.imported()
            assert (own.help or "").split("\n\n")[0].replace("\n", " ") == row.line, row.name
            if hasattr(own, "rows"):
                tables.append(own)
        for place in {row.place for row in rows.values() if not row.is_group}:
            module, _, commands = place.partition(":")
            holder = typer.Typer()
            holder.add_typer(getattr(import_module(module), commands))
            there = set(typer.main.get_group(holder).commands)
            assert there == {row.name for row in rows.values() if row.place == place}, place


def _loaded(program: str, *words: str) -> tuple[int, set[str]]:
    """Run a command as `python -m` does; returns its exit status and the top-level modules that it imported."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, MODULES[program], program, *words],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    return found["status"], set(found["loaded"])
