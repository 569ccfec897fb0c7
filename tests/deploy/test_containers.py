"""The containers' files: what a hospital's security office would ask of them holds in what they say."""

import re
import shlex
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from dockerfile_parse import DockerfileParser
from yamllint import linter
from yamllint.config import YamlLintConfig

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
COMPOSE = sorted(DEPLOY.glob("*.compose.yaml"))
DOCKERFILES = sorted(DEPLOY.glob("*.Dockerfile"))
PINNED = r"[a-z0-9./-]+:[0-9][a-z0-9.-]*( AS [a-z]+)?"
LINT = "extends: default\nrules: {line-length: {max: 120}, document-start: disable, comments: disable, braces: disable}"


def service(path: Path) -> dict[str, Any]:
    (only,) = yaml.safe_load(path.read_text(encoding="utf-8"))["services"].values()
    return dict(only)


def instructions(path: Path, name: str) -> list[str]:
    parser = DockerfileParser(fileobj=BytesIO(path.read_bytes()))
    return [one["value"] for one in parser.structure if one["instruction"] == name]


def test_there_is_one_of_each() -> None:
    """Hub and site have a Dockerfile and a compose file each."""
    assert [path.name for path in COMPOSE] == ["hub.compose.yaml", "site.compose.yaml"]
    assert [path.name for path in DOCKERFILES] == ["hub.Dockerfile", "site.Dockerfile"]


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
def test_compose_files_are_clean_yaml(path: Path) -> None:
    """Yamllint finds nothing, such as a key given twice, of which compose would take one silently."""
    assert list(linter.run(path.read_text(encoding="utf-8"), YamlLintConfig(LINT))) == []


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
def test_a_container_can_do_little(path: Path) -> None:
    """Each runs as nobody in particular, on a read-only root, without capabilities, within limits, under an init."""
    one = service(path)
    assert one["user"] == "10001:10001"
    assert one["read_only"] is one["init"] is True
    assert one["cap_drop"] == ["ALL"]
    assert one["security_opt"] == ["no-new-privileges:true"]
    assert one["restart"] == "unless-stopped"
    assert {"pids_limit", "mem_limit", "cpus", "tmpfs", "logging"} <= one.keys()
    assert not {"privileged", "network_mode", "pid", "ipc", "cap_add", "devices", "environment"} & one.keys()


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
    (port,) = service(DEPLOY / "hub.compose.yaml")["ports"]
    (started,) = instructions(DEPLOY / "hub.Dockerfile", "CMD")
    assert port.endswith(":8443")
    assert "0.0.0.0:8443" in started
    assert instructions(DEPLOY / "hub.Dockerfile", "EXPOSE") == ["8443"]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_images_are_pinned_and_hold_no_secret(path: Path) -> None:
    """Base images have a version, nothing is fetched by ADD, and what is copied is the code and its pins."""
    assert all(re.fullmatch(PINNED, base) for base in instructions(path, "FROM"))
    assert instructions(path, "ADD") == []
    copied = {
        word for line in instructions(path, "COPY") for word in shlex.split(line)[:-1] if word[:2] != "--"
    }
    own = {
        "constraints.txt",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "shared",
        "client",
        "server",
        "deploy/studies",
    }
    assert copied <= own | {"/opt/rounds", "/src"}


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_images_run_as_nobody_and_say_how_they_are(path: Path) -> None:
    """The last USER is the number that compose names; the health check is the one that loads nothing heavy."""
    assert instructions(path, "USER")[-1] == "10001:10001"
    (check,) = instructions(path, "HEALTHCHECK")
    assert '"python", "-m", "shared.service_health"' in check


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_images_are_offline(path: Path) -> None:
    """Flower and the model hub are told not to ask the network."""
    told = " ".join(instructions(path, "ENV"))
    for switch in ("FLWR_TELEMETRY_ENABLED=0", "FLWR_DISABLE_UPDATE_CHECK=1", "HF_HUB_OFFLINE=1",
                   "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION=1"):  # fmt: skip
        assert switch in told
