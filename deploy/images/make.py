"""`make images`: build hub, site and offline bundle from our Dockerfiles, look inside, and run a study between them.

    python -m deploy.images.make all --out results/images

Needs root, and Debian's buildah, podman, mmdebstrap and iproute2. Everything it builds is removed in the end but for
`--out`: a bill of materials an image, the logs, and the table. Exit status 0 only where every rule holds.
"""

import importlib.util
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import psutil
import typer

from deploy.images.base import BASE, make_base
from deploy.images.bill import as_json, bill_of
from deploy.images.inside import LIMIT_BYTES, Entry, Finding, entries, look_inside, size
from deploy.images.machine import (
    PLACE,
    SETTINGS,
    Traces,
    pip_settings,
    torch_without_cuda,
    traces,
    write_settings,
)
from deploy.images.storage import Container, ImageError, Storage, environment
from deploy.images.study import REPOSITORY, SITES, Study, run_study
from shared.terminal.command_line import program
from shared.terminal.tables import plain_table, wide_console

HUB, SITE = "localhost/teaching-rounds-hub:0.1.0", "localhost/teaching-rounds-site:0.1.0"
_TOOLS = ("buildah", "podman", "mmdebstrap", "ip", "newuidmap")
_FREE_BYTES = 16_000_000_000  # vfs copies every layer whole; overlay takes half
_LONGEST_WORK = 25  # podman's own places below it may have 50
_CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
_COLUMNS = ("image", "size", "beyond the base", "user", "health", "packages in its bill", "rules")
cli = program("Build the images, look inside, and run a study between them.")


@cli.callback()
def _group() -> None:
    """Be a group of one, whose errors are sentences."""


@dataclass
class Shown:
    """What is known of one image."""

    image: str
    bytes: int
    beyond: int
    user: str
    entries: int
    findings: list[Finding] = field(default_factory=list)


@cli.command("all")
def make(
    out: Annotated[Path, typer.Option(help="where bills of materials, logs and the table go")] = Path(
        "results/images"
    ),
    work: Annotated[Path, typer.Option(help="where images are built: 8 GB, with vfs 16")] = Path("/var/tmp"),  # noqa: S108
    base: Annotated[
        str, typer.Option(help="a base image that buildah can reach; made of Debian when not given")
    ] = "",
    mirror: Annotated[str, typer.Option(help="Debian's mirror; none: mmdebstrap's own")] = "",
    torch: Annotated[
        str, typer.Option(help="torch as pip takes it; else the newest CPU build that pip finds")
    ] = "",
    torch_index: Annotated[str, typer.Option(help="torch's own CPU index")] = "",
    driver: Annotated[
        str, typer.Option(help="how images lie on the disk: overlay, or vfs where a kernel has none")
    ] = ("overlay"),
    keep: Annotated[bool, typer.Option("--keep", help="leave what was built, and say where")] = False,
    again: Annotated[
        Path | None, typer.Option(help="a folder that --keep left: look and run again, build nothing")
    ] = None,
) -> None:
    """Build, look inside, run. About half an hour on two cores."""
    _require_tools(work)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    with _folder(again, work, keep=keep) as folder:
        here, hospital = (Storage(folder / part, driver) for part in ("here", "away"))
        settings = pip_settings()
        if again is None:
            chosen = torch or ("" if torch_index else torch_without_cuda())
            _say(f"torch: {chosen or 'as constraints.txt has it'}")
            for passed in write_settings(settings, folder / "settings"):
                _say(f"passed over, as it is of this machine alone: {passed}")
            if not base:
                _say("the base, from Debian's packages")
                make_base(here, mirror, out / "base.log")
            else:
                here.call("pull", base, log=out / "base.log")
            arguments = {"TORCH": chosen, "TORCH_INDEX": torch_index, "PIP_CONFIG_FILE": SETTINGS}
            _build(here, folder, out, arguments | {"BASE": base or BASE})
            _carry_over(here, hospital, folder, out)
        known = _known(here, folder, base or BASE, settings)
        with ExitStack() as open_now:
            hub = open_now.enter_context(here.container(HUB))
            sites = {name: open_now.enter_context(hospital.container(SITE)) for name in SITES}
            looked_at = ((here, HUB, hub), (hospital, SITE, sites[SITES[0]]))
            shown = [_looked_at(*which, known, out) for which in looked_at]
            study = run_study(hub, sites, folder / "study", _say)
            for log in (folder / "study").glob("*.log"):
                shutil.copy(log, out)
    raise typer.Exit(_told(shown, study, out))


@dataclass(frozen=True)
class Known:
    """What images are compared with: the base's files, and the words of this machine."""

    base: list[Entry]
    base_bytes: int
    traces: Traces


def _build(here: Storage, folder: Path, out: Path, arguments: Mapping[str, str]) -> None:
    """Build hub and site."""
    for name, image in (("site", SITE), ("hub", HUB)):
        begun = time.monotonic()
        _say(f"the {name}'s image")
        here.build(
            REPOSITORY / "deploy" / f"{name}.Dockerfile", image, REPOSITORY, arguments=arguments,
            volumes=(f"{folder / 'settings'}:{PLACE}:ro",), log=out / f"{name}.build.log",
        )  # fmt: skip
        _say(f"the {name}'s image took {time.monotonic() - begun:.0f} s")


def _known(here: Storage, folder: Path, base: str, settings: Mapping[str, str]) -> Known:
    """Collect what images are compared with."""
    with here.container(base) as bare:
        found = entries(bare.root)
        believed = (bare.root / _CERTIFICATES).read_bytes()
        own = Path(settings.get("cert") or f"/{_CERTIFICATES}")
        ours = traces(settings, (REPOSITORY, folder), own.read_bytes() if own.is_file() else b"", believed)
        return Known(found, size(found), ours)


def _looked_at(storage: Storage, image: str, container: Container, known: Known, out: Path) -> Shown:
    """Look inside an image and write its bill of materials."""
    _say(f"inside {image}")
    found = entries(container.root)
    digest = storage.call("inspect", "--type", "image", "--format", "{{.FromImageDigest}}", image)
    bill = bill_of(container.root, image, digest)
    name = image.rpartition("/")[2].partition(":")[0]
    (out / f"{name}.cdx.json").write_text(as_json(bill), encoding="utf-8")
    whole = size(found)
    beyond = whole - known.base_bytes
    findings = look_inside(container.config, found, known.base, known.traces)
    told = known.traces.found(storage.history(image).encode())
    findings.append(Finding("its history tells nothing of the machine that built", tuple(told)))
    if image == SITE:
        over = (f"{beyond / 1e9:.2f} GB",) if beyond > LIMIT_BYTES else ()
        findings.append(Finding(f"at most {LIMIT_BYTES / 1e9:g} GB beyond the base", over))
    return Shown(image, whole, beyond, str(container.config.get("User")), len(bill.components), findings)


def _carry_over(here: Storage, hospital: Storage, folder: Path, out: Path) -> None:
    """Carry the site's image to a hospital without internet, by the bundle: what runs later came this way."""
    _say("the offline bundle: images, papers, seal, verify, load")
    bundle = folder / "bundle"
    log = out / "bundle.log"

    def do(storage: Storage, *words: str | Path) -> str:
        variables = environment() | {"ENGINE": " ".join(storage.words("podman"))}
        command = [REPOSITORY / "deploy" / "offline_bundle.sh", *words]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{words[0]}: {done.returncode}\n{done.stdout}{done.stderr}")
        if done.returncode:
            raise ImageError(
                f"offline_bundle.sh {words[0]}: ended with {done.returncode}; its words are in {log}"
            )
        return done.stdout.strip()

    do(here, "images", bundle, SITE)
    do(
        here,
        "papers",
        bundle,
        REPOSITORY / "deploy" / "site.compose.yaml",
        REPOSITORY / "deploy" / "offline_bundle.sh",
    )
    digest = do(here, "seal", bundle)
    here.remove(SITE)
    do(hospital, "verify", bundle, digest)
    do(hospital, "load", bundle, digest)
    shutil.rmtree(bundle)


def _told(shown: list[Shown], study: Study, out: Path) -> int:
    """Print and keep findings, table and verdict; returns the exit status."""
    health = [one for one in study.findings if one.rule.startswith("health")]
    healthy = "ok" if health and not any(one.broken for one in health) else "FAIL"
    lines = []
    for one in shown:
        lines += [one.image, *(f"  {finding}" for finding in one.findings)]
    lines += ["study", *(f"  {finding}" for finding in study.findings)]
    lines += ["", *table(shown, healthy), "", f"study: {study.verdict}"]
    text = "\n".join(lines)
    (out / "images.txt").write_text(text + "\n", encoding="utf-8")
    typer.echo(text)
    found = [*study.findings, *(finding for one in shown for finding in one.findings)]
    return 1 if any(one.broken for one in found) or not study.findings else 0


def table(shown: list[Shown], healthy: str) -> list[str]:
    """Return the table's lines."""
    rows = [
        (
            one.image.rpartition("/")[2], f"{one.bytes / 1e9:.2f} GB", f"{one.beyond / 1e9:.2f} GB", one.user, healthy,
            str(one.entries), _rules(one.findings),
        )
        for one in shown
    ]  # fmt: skip
    console = wide_console()
    with console.capture() as printed:
        console.print(plain_table(_COLUMNS, rows))
    return printed.get().rstrip().splitlines()


def _rules(findings: list[Finding]) -> str:
    good = sum(not one.broken for one in findings)
    return f"{good} of {len(findings)} hold"


@contextmanager
def _folder(again: Path | None, work: Path, *, keep: bool) -> Iterator[Path]:
    """Make a folder for everything, or take the one that was left, and remove it in the end."""
    folder = again or Path(tempfile.mkdtemp(prefix="rounds-", dir=work))
    if again is None:
        for part in ("here", "away"):
            (folder / part).mkdir()
    shutil.rmtree(folder / "study", ignore_errors=True)
    try:
        yield folder
    finally:
        if keep:
            _say(f"left in {folder}")
        else:
            for one in reversed(psutil.disk_partitions(all=True)):  # overlay is a mount of its own
                if Path(one.mountpoint).is_relative_to(folder):
                    subprocess.run(["umount", one.mountpoint], check=False)
            shutil.rmtree(folder)


def _require_tools(work: Path) -> None:
    """Refuse before anything is built."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise ImageError(
            f"{', '.join(missing)}: not on this machine; `apt-get install buildah podman mmdebstrap uidmap iproute2`"
        )
    if importlib.util.find_spec("cyclonedx") is None:
        raise ImageError("cyclonedx: not installed; `make setup`")
    if len(str(work.absolute())) > _LONGEST_WORK:
        raise ImageError(f"--work is {str(work)!r}: at most {_LONGEST_WORK} characters, as podman has it")
    free = shutil.disk_usage(work).free
    if free < _FREE_BYTES:
        raise ImageError(
            f"--work is {str(work)!r}: {free / 1e9:.0f} GB are free there, {_FREE_BYTES / 1e9:.0f} are needed"
        )


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    cli()
