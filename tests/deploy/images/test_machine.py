"""What a machine has of its own reaches pip while images are built, and is recognised in what was built."""

import datetime as dt
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pip._internal.models.index import PyPI

from deploy.images.machine import newest_cpu_build, read_settings, traces, write_settings

PUBLIC = PyPI.simple_url  # that of pip, where nothing else is set
LISTED = f"""\
:env:.find-links='/opt/wheels'
:env:.default-timeout='180'
global.index-url='https://wheels.hospital.example/simple'
global.find-links='/opt/older'
global.extra-index-url='file:///opt/index/simple {PUBLIC}'
"""


def certificate(name: str) -> bytes:
    """Make one that signs itself, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    built = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    built = built.serial_number(1).not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
    return built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_variables_come_before_files() -> None:
    """As pip has it: what PIP_FIND_LINKS says counts, not what pip.conf says."""
    assert read_settings(LISTED)["find-links"] == "/opt/wheels"


def test_a_build_gets_the_settings_at_its_own_place(tmp_path: Path) -> None:
    """Certificates and folders of wheels are given under the mounted place; an index on this disk is passed over."""
    wheels, own = tmp_path / "wheels", tmp_path / "own.pem"
    wheels.mkdir()
    (wheels / "a.whl").write_bytes(b"wheel")
    own.write_bytes(certificate("own"))
    settings = read_settings(LISTED) | {
        "find-links": str(wheels),
        "cert": str(own),
        "cache-dir": "/root/.cache",
    }
    passed = write_settings(settings, tmp_path / "settings")
    assert (tmp_path / "settings" / "pip.conf").read_text() == (
        "[global]\n"
        "index-url = https://wheels.hospital.example/simple\n"
        "find-links = /mnt/links/0\n"
        f"extra-index-url = {PUBLIC}\n"
        "timeout = 180\n"
        "cert = /mnt/certificates.pem\n"
    )
    assert passed == ("extra-index-url: /opt/index/simple",)
    assert (tmp_path / "settings" / "certificates.pem").read_bytes() == own.read_bytes()
    assert (tmp_path / "settings" / "links" / "0" / "a.whl").read_bytes() == b"wheel"


@pytest.mark.parametrize(
    "planted",
    [
        "direct_url: file:///home/ada/rounds",
        "https://wheels.hospital.example/simple/torch",
        "/opt/wheels/torch.whl",
    ],
)
def test_words_of_the_machine_are_found(planted: str) -> None:
    """The folder of the checkout, the host of its index and its folders of wheels are recognised anywhere."""
    ours = traces(read_settings(LISTED), (Path("/home/ada/rounds"),), b"", b"")
    assert len(ours.found(f"x{planted}y".encode())) == 1


def test_what_everybody_has_is_no_word_of_the_machine() -> None:
    """The public registry's name, and certificates that the base has too, may stand in an image."""
    public, private = certificate("public"), certificate("private")
    ours = traces(read_settings(LISTED), (), public + private, public)
    assert ours.found(PUBLIC.encode() + public) == []
    assert ours.found(b"\n".join((public, private))) == ["certificate 0 of this machine"]


def test_the_newest_cpu_build_is_taken() -> None:
    """Among all versions that pip lists, by number and not by letter; none is none."""
    listed = "Available versions: 2.15.0, 2.14.0, 2.9.1+cpu, 2.13.0+cpu, 2.13.0, 2.2.0+cpu"
    assert newest_cpu_build(listed) == "torch==2.13.0+cpu"
    assert newest_cpu_build("Available versions: 2.15.0, 2.14.0") == ""
