"""The containers' files: what a hospital's security office would ask of them holds in what they say."""

import json
import re
import shlex
import tomllib
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from dockerfile_parse import DockerfileParser
from yamllint import linter
from yamllint.config import YamlLintConfig

from client.node.supernode import STATUS as NODE_STATUS
from server.services.running_hub import Hub
from tests.system.commands import MODULES, hub_command, site_command

REPOSITORY = Path(__file__).resolve().parents[2]
DEPLOY = REPOSITORY / "deploy"
COMPOSE = sorted(DEPLOY.glob("*.compose.yaml"))
SETS = (["hub.compose.yaml"], ["site.compose.yaml"], ["site.compose.yaml", "site.gpu.compose.yaml"])
DOCKERFILES = sorted(DEPLOY.glob("*.Dockerfile"))
OWN = {
    "constraints.txt", "pyproject.toml", "README.md", "LICENSE", "shared", "client", "server", "deploy/studies",
}  # fmt: skip
PINNED = r"[a-z0-9./-]+:[0-9][a-z0-9.-]*"
LINT = "extends: default\nrules: {line-length: {max: 120}, document-start: disable, comments: disable, braces: disable}"


def service(*paths: Path) -> dict[str, Any]:
    """Return the one service of compose files, the later over the earlier, as `docker compose -f a -f b` has it."""
    whole: dict[str, Any] = {}
    for path in paths:
        ((name, only),) = yaml.safe_load(path.read_text(encoding="utf-8"))["services"].items()
        assert whole.setdefault("name", name) == name
        whole = over(whole, only)
    return whole


def over(below: Any, above: Any) -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {key: over(below.get(key), value) for key, value in above.items()}
    return [*below, *above] if isinstance(below, list) and isinstance(above, list) else above


def instructions(path: Path, name: str) -> list[str]:
    parser = DockerfileParser(fileobj=BytesIO(path.read_bytes()))
    return [one["value"] for one in parser.structure if one["instruction"] == name]


def test_there_is_one_of_each() -> None:
    """Hub and site have a Dockerfile and a compose file each, and the site one more for a GPU."""
    assert [path.name for path in COMPOSE] == [
        "hub.compose.yaml", "site.compose.yaml", "site.gpu.compose.yaml",
    ]  # fmt: skip
    assert [path.name for path in DOCKERFILES] == ["hub.Dockerfile", "site.Dockerfile"]


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
def test_compose_files_are_clean_yaml(path: Path) -> None:
    """Yamllint finds nothing, such as a key given twice, of which compose would take one silently."""
    assert list(linter.run(path.read_text(encoding="utf-8"), YamlLintConfig(LINT))) == []


@pytest.mark.parametrize("names", SETS, ids=" ".join)
def test_a_container_can_do_little(names: list[str]) -> None:
    """Each runs as nobody in particular, on a read-only root, without capabilities, within limits, under an init."""
    one = service(*(DEPLOY / name for name in names))
    assert one["user"] == "10001:10001"
    assert one["read_only"] is one["init"] is True
    assert one["cap_drop"] == ["ALL"]
    assert one["security_opt"] == ["no-new-privileges:true"]
    assert one["restart"] == "unless-stopped"
    assert {"pids_limit", "mem_limit", "cpus", "tmpfs", "logging"} <= one.keys()
    assert one["memswap_limit"] == one["mem_limit"], "swap: patients' images could reach the disk"
    assert not {"privileged", "network_mode", "pid", "ipc", "cap_add", "devices", "environment"} & one.keys()


def test_a_site_with_a_gpu_gets_that_and_nothing_else() -> None:
    """The override adds one GPU by the driver's own way, another image and memory; nothing else changes."""
    base, gpu = service(DEPLOY / "site.compose.yaml"), service(*(DEPLOY / name for name in SETS[2]))
    assert {key for key in gpu if gpu[key] != base.get(key)} == {
        "image", "build", "mem_limit", "memswap_limit", "deploy",
    }  # fmt: skip
    (device,) = gpu["deploy"].pop("resources").pop("reservations").pop("devices")
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu", "compute", "utility"]}
    assert gpu["deploy"] == {}
    assert gpu["build"]["args"] == {"TORCH_INDEX": ""}
    assert base["build"]["args"] == {"TORCH_INDEX": "${TORCH_INDEX:-}"}
    assert gpu["image"] == f"{base['image']}-gpu"
    assert service(DEPLOY / "hub.compose.yaml")["build"]["args"] == base["build"]["args"]


def test_nobody_dials_a_site() -> None:
    """The site publishes no port; its data mount is read-only; the ledger's head has a volume of its own."""
    site = service(DEPLOY / "site.compose.yaml")
    assert "ports" not in site
    assert "expose" not in site
    binds = [one for one in site["volumes"] if isinstance(one, dict)]
    assert [(one["target"], one["read_only"]) for one in binds] == [("/data", True)]
    assert [one for one in site["volumes"] if isinstance(one, str)] == ["site:/site", "head:/site/head"]


def test_the_hub_publishes_the_proxy_alone() -> None:
    """The one published port is nginx's; the SuperLink's is not."""
    port, readers = service(DEPLOY / "hub.compose.yaml")["ports"]
    (started,) = instructions(DEPLOY / "hub.Dockerfile", "CMD")
    assert port.endswith(":8443")
    assert "0.0.0.0:8443" in started
    assert (
        readers == "${READERS:-127.0.0.1:8446}:8446"
    )  # this machine's browsers, unless somebody says otherwise
    assert instructions(DEPLOY / "hub.Dockerfile", "EXPOSE") == ["8443 8446"]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_images_are_pinned_and_hold_no_secret(path: Path) -> None:
    """The base has a version unless another is given, nothing is fetched by ADD, and what is copied is the code."""
    assert instructions(path, "FROM") == ["${BASE} AS build", "${BASE}"]
    assert re.fullmatch(PINNED, arguments(path)["BASE"])
    assert instructions(path, "ADD") == []
    assert copied(path) <= OWN | {"/opt/rounds", "/src"}


def copied(path: Path) -> set[str]:
    """Return what a Dockerfile copies, from the build's folder or from another stage."""
    lines = instructions(path, "COPY")
    return {word for line in lines for word in shlex.split(line)[:-1] if word[:2] != "--"}


def arguments(path: Path) -> dict[str, str]:
    """Return the build arguments of a Dockerfile with their defaults; "" where there is none."""
    pairs = (line.partition("=") for line in instructions(path, "ARG"))
    return {name: value for name, _, value in pairs}


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_builds_take_the_same_arguments(path: Path) -> None:
    """Base, torch and the machine's own pip settings are given from outside; by default there are none of the last."""
    assert arguments(path) | {"BASE": ""} == dict.fromkeys(
        ("BASE", "TORCH_INDEX", "TORCH", "PIP_CONFIG_FILE"), ""
    )
    kept = " ".join(instructions(path, "ENV")[1:])  # those of the stage that is kept
    assert not {"PIP", "TORCH_INDEX", "BASE"} & set(re.findall(r"[A-Z_]+", kept))


def test_a_build_sees_what_it_copies_and_nothing_else() -> None:
    """.dockerignore leaves everything out but what the Dockerfiles copy: no repository, tests, results or caches."""
    lines = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert rules[-1] == "**/__pycache__"
    let_in = {rule.removeprefix("!") for rule in rules[1:-1]}
    assert let_in == OWN == {word for path in DOCKERFILES for word in copied(path)} - {"/opt/rounds", "/src"}


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_images_run_as_nobody_and_say_how_they_are(path: Path) -> None:
    """The last USER is the number that compose names, which owns the volumes' folders alone; SIGTERM ends it."""
    assert instructions(path, "USER")[-1] == "10001:10001"
    assert instructions(path, "STOPSIGNAL") == ["SIGTERM"]
    for line in instructions(path, "VOLUME"):
        for folder in json.loads(line):
            made = [
                run for run in instructions(path, "RUN") if "--mode=0700" in run and folder in run.split()
            ]
            assert made, f"{folder} would belong to root"


def test_containers_run_what_the_system_tests_start() -> None:
    """Their commands are those of `tests/system`, and the programs' modules those of pyproject.toml."""
    (hub,) = instructions(DEPLOY / "hub.Dockerfile", "CMD")
    (site,) = instructions(DEPLOY / "site.Dockerfile", "CMD")
    assert json.loads(hub) == [*hub_command("/hub", "0.0.0.0:8443", 8000), "--readers-listen", "0.0.0.0:8446"]
    assert json.loads(site) == site_command("/site/site.yaml")
    scripts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert scripts == {name: f"{module}:main" for name, module in MODULES.items()}
    for path in COMPOSE:
        assert not {"command", "entrypoint", "healthcheck"} & service(path).keys(), "the image's own are run"
    assert [instructions(path, "ENTRYPOINT") for path in DOCKERFILES] == [[], []]


def test_health_checks_read_what_the_supervisors_write() -> None:
    """Hub and site ask for the file of their own supervisor, in the folder that it writes to."""
    for name, file in (("hub", str(Hub(Path("/hub")).status)), ("site", f"/site/state/{NODE_STATUS}")):
        (check,) = instructions(DEPLOY / f"{name}.Dockerfile", "HEALTHCHECK")
        words = json.loads(check[check.index("CMD") + 3 :])
        assert words == ["python", "-m", "shared.processes.service_health", file]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_images_are_offline(path: Path) -> None:
    """Flower and the model hub are told not to ask the network."""
    told = " ".join(instructions(path, "ENV"))
    for switch in ("FLWR_TELEMETRY_ENABLED=0", "FLWR_DISABLE_UPDATE_CHECK=1", "HF_HUB_OFFLINE=1",
                   "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION=1"):  # fmt: skip
        assert switch in told
