"""What a site without internet carries in: made, sealed, verified and installed on a tiny scale, with no network."""

import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.images.storage import Storage

SCRIPT = Path(__file__).resolve().parents[2] / "deploy" / "offline_bundle.sh"
PROBE = {
    "rounds_probe.py": "answer = 42\n",
    "rounds_probe-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: rounds-probe\nVersion: 1.0\n",
    "rounds_probe-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "rounds_probe-1.0.dist-info/RECORD": "",
}  # a package small enough to be written here


def bundle(*words: str | Path, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the script."""
    done = subprocess.run(
        [SCRIPT, *words], capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "PIP_NO_INDEX": "1", **variables},
    )  # fmt: skip
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.fixture
def sealed(tmp_path: Path) -> tuple[Path, str]:
    """Make a bundle of one wheel and one paper, sealed; returns its folder and the digest to read out."""
    wheels, made = tmp_path / "index", tmp_path / "bundle"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "rounds_probe-1.0-py3-none-any.whl", "w") as wheel:
        for name, text in PROBE.items():
            wheel.writestr(name, text)
    (tmp_path / "study one.yaml").write_text("name: lungs\n")
    bundle("wheels", made, "rounds-probe", PIP_FIND_LINKS=str(wheels))
    bundle("papers", made, tmp_path / "study one.yaml")
    return made, bundle("seal", made).stdout.strip()


def test_what_was_carried_over_whole_is_installed(sealed: tuple[Path, str], tmp_path: Path) -> None:
    """Wheels, their pins and papers are in the bundle; at the site the wheels are installed from it alone."""
    made, digest = sealed
    files = sorted(path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file())
    assert files == [
        "SHA256SUMS", "constraints.txt", "papers/study one.yaml", "wheels/rounds_probe-1.0-py3-none-any.whl",
    ]  # fmt: skip
    arrived = tmp_path / "arrived"
    shutil.copytree(made, arrived)
    assert bundle("verify", arrived, digest).stdout == "verified: 3 files\n"
    bundle("install", arrived, digest, tmp_path / "venv", "rounds-probe")
    python = tmp_path / "venv" / "bin" / "python"
    said = subprocess.run(
        [python, "-c", "import rounds_probe; print(rounds_probe.answer)"], capture_output=True, check=True
    )
    assert said.stdout == b"42\n"


ALTERATIONS: dict[str, tuple[Callable[[Path], object], str]] = {
    "altered": (lambda b: (b / "papers" / "study one.yaml").write_text("name: lungz\n"), "altered or are missing"),
    "missing": (lambda b: next((b / "wheels").iterdir()).unlink(), "altered or are missing"),
    "added": (lambda b: (b / "wheels" / "extra.whl").write_bytes(b""), "files that nobody sealed"),
    "a link added": (lambda b: (b / "wheels" / "extra.whl").symlink_to("/etc/passwd"), "files that nobody sealed"),
    "list altered": (lambda b: (b / "SHA256SUMS").write_text(""), "whose digest was read out"),
    "not sealed": (lambda b: (b / "SHA256SUMS").unlink(), "was not sealed"),
}  # fmt: skip


@pytest.mark.parametrize(("alter", "sentence"), ALTERATIONS.values(), ids=ALTERATIONS)
def test_what_is_not_what_was_sealed_is_refused(
    sealed: tuple[Path, str], tmp_path: Path, alter: Callable[[Path], object], sentence: str
) -> None:
    """Whatever was altered, lost or added on the way is told, and nothing is installed."""
    made, digest = sealed
    alter(made)
    for command in (("verify", made, digest), ("install", made, digest, tmp_path / "venv", "rounds-probe")):
        done = bundle(*command, check=False)
        assert done.returncode == 1
        assert sentence in done.stderr
    assert not (tmp_path / "venv").exists()


def test_a_list_sealed_anew_by_a_stranger_is_refused(sealed: tuple[Path, str]) -> None:
    """The digest that was read out tells the sender's list from another's."""
    made, digest = sealed
    (made / "papers" / "study one.yaml").write_text("name: lungz\n")
    assert bundle("seal", made).stdout.strip() != digest
    assert "whose digest was read out" in bundle("verify", made, digest, check=False).stderr


def test_equal_bundles_have_equal_digests(sealed: tuple[Path, str], tmp_path: Path) -> None:
    """Sealing again, here or elsewhere, gives the same digest; a link is not sealed."""
    made, digest = sealed
    shutil.copytree(made, tmp_path / "copy")
    assert bundle("seal", tmp_path / "copy").stdout.strip() == digest
    (tmp_path / "copy" / "papers" / "link").symlink_to("study one.yaml")
    assert "holds links" in bundle("seal", tmp_path / "copy", check=False).stderr


@pytest.fixture
def short() -> Iterator[Path]:
    """Make a folder with a short name: podman takes no place of more than 50 characters."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        yield Path(folder)


@pytest.mark.skipif(
    os.geteuid() != 0 or not {shutil.which("buildah"), shutil.which("podman")}.isdisjoint({None}),
    reason="saves and loads images: needs root, buildah and podman",
)
def test_images_travel_with_another_engine(tmp_path: Path, short: Path) -> None:
    """With ENGINE=podman several images are saved, each under its own name, and loaded where nobody had them."""
    here, there = (Storage(short / part) for part in ("here", "there"))
    for name in ("hub", "site"):
        context = tmp_path / name
        context.mkdir()
        (context / "Dockerfile").write_text("FROM scratch\nCOPY name /name\n")
        (context / "name").write_text(name)
        here.build(context / "Dockerfile", f"localhost/{name}:1", context, arguments={})
    made = tmp_path / "bundle"
    bundle("images", made, "localhost/hub:1", "localhost/site:1", ENGINE=" ".join(here.words("podman")))
    digest = bundle("seal", made).stdout.strip()
    bundle("load", made, digest, ENGINE=" ".join(there.words("podman")))
    for name in ("hub", "site"):
        with there.container(f"localhost/{name}:1") as container:
            assert (container.root / "name").read_text() == name


@pytest.mark.parametrize(
    "words", [(), ("seal",), ("verify", "b"), ("images", "b"), ("papers", "b"), ("carry", "b")]
)
def test_a_wrong_call_says_how_to_call(words: tuple[str, ...]) -> None:
    """Exit status 2 and the usage."""
    done = bundle(*words, check=False)
    assert done.returncode == 2
    assert "offline_bundle.sh verify BUNDLE DIGEST" in done.stderr
