"""`rounds-hub init`, `invite`, `admit`, `remove`, `sites`, `renew`, `backup` and `restore`, as a person types them."""

import json
import shutil
from datetime import date
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from typer.testing import CliRunner, Result

from server.cli.program import app
from server.hub.hub_folder import open_hub, verify_hub
from shared.trust.fingerprint import words
from shared.trust.hub_invitation import read_invitation
from shared.trust.site_introduction import Introduction, introduce

NOBODY = ("--superlink", "127.0.0.1:1")  # the port of no SuperLink


def rounds_hub(*typed: object, answer: str | None = None) -> Result:
    """Run a command; `answer` is what the person types when asked."""
    return CliRunner().invoke(app, [str(word) for word in typed], input=answer)


def site_file(folder: Path, name: str) -> tuple[Path, Introduction]:
    """Return a .pub file as a site sends it."""
    keys = ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()
    made = introduce(name, *keys, date(2026, 11, 20))
    path = folder / f"{name}.pub"
    path.write_text(made.model_dump_json())
    return path, made


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """Return the folder of a new hub."""
    done = rounds_hub(
        "init", tmp_path / "hub", "--name", "lungs", "--address", "hub.example.org:8000", "--dns", "hub.example.org",
        "--dns", "hub.internal", "--ip", "192.0.2.7",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return tmp_path / "hub"


def names(hub: Path) -> list[str]:
    with open_hub(hub).sites() as sites:
        return [site.name for site in sites.admitted()]


def test_an_invitation_is_written_and_read_out(hub: Path, tmp_path: Path) -> None:
    """`init` and `invite` say the same words, and they are those of the file that is sent."""
    done = rounds_hub("invite", tmp_path / "sent.json", "--hub", hub)
    assert done.exit_code == 0, done.output
    sent = read_invitation(tmp_path / "sent.json")
    assert words(sent.fingerprint) in done.stdout
    assert words(sent.fingerprint) in rounds_hub("invite", "--hub", hub).stdout


def test_a_site_is_admitted_by_the_words_it_reads_out(hub: Path, tmp_path: Path) -> None:
    """With the words the site is in, twice is once; without a SuperLink here the person is told."""
    file, made = site_file(tmp_path, "north")
    said = words(made.fingerprint()) + "\n"
    done = rounds_hub("admit", file, "--name", "north", "--hub", hub, *NOBODY, answer=said)
    assert "north is admitted." in done.stdout
    assert (done.exit_code, "the list is written" in done.stderr) == (1, True)
    again = rounds_hub("admit", file, "--hub", hub, *NOBODY, answer=said)
    assert "was admitted already" in again.stdout
    assert names(hub) == ["north"]


def test_a_site_with_other_words_stays_out(hub: Path, tmp_path: Path) -> None:
    """A genuine file of somebody else does not get in under the name."""
    file, _ = site_file(tmp_path, "north")
    done = rounds_hub("admit", file, "--hub", hub, answer=words("00" * 32) + "\n")
    assert (done.exit_code, "is not that of this file" in done.stderr) == (1, True)
    other_name = rounds_hub("admit", file, "--name", "south", "--hub", hub)
    assert (other_name.exit_code, "--name is 'south', the file says 'north'" in other_name.stderr) == (
        1,
        True,
    )
    assert names(hub) == []


def test_a_removed_site_is_shown_as_such(hub: Path, tmp_path: Path) -> None:
    """`sites` lists who is in, who went and when, and until when the certificates hold; --json is whole."""
    for name in ("north", "south"):
        file, made = site_file(tmp_path, name)
        rounds_hub("admit", file, "--hub", hub, "--fingerprint", made.fingerprint(), *NOBODY)
    removed = rounds_hub("remove", "south", "--hub", hub, *NOBODY)
    assert "south is removed." in removed.stdout
    listed = json.loads(rounds_hub("sites", "--json", "--hub", hub).stdout)
    assert [(one["name"], one["removed"] is None) for one in listed["sites"]] == [
        ("north", True),
        ("south", False),
    ]
    assert sorted(listed["certificates"]) == ["ca", "hub"]
    table = rounds_hub("sites", "--hub", hub).stdout
    assert "north" in table
    assert listed["sites"][1]["removed"][:10] in table
    assert f"certificate of the hub holds until {listed['certificates']['hub'][:10]} (396 days)" in table


def test_renewal_keeps_the_names(hub: Path) -> None:
    """The CA and every name stay; the certificate is new. With a new CA there are new words to read out."""
    before, old = open_hub(hub).invitation(), open_hub(hub).certificate()
    assert rounds_hub("renew", "--hub", hub, "--days", "90").exit_code == 0
    new = open_hub(hub).certificate()
    assert open_hub(hub).invitation() == before
    assert new.serial_number != old.serial_number
    assert (new.not_valid_after_utc - new.not_valid_before_utc).days == 91
    for host in ("hub.internal", "192.0.2.7"):
        done = rounds_hub("renew", "--hub", hub, "--address", f"{host}:8443")
        assert done.exit_code == 0, done.output
    done = rounds_hub("renew", "--new-authority", "--hub", hub)
    after = open_hub(hub).invitation()
    assert after.fingerprint != before.fingerprint
    assert words(after.fingerprint) in done.stdout
    verify_hub(open_hub(hub))


def test_a_hub_is_put_back(hub: Path, tmp_path: Path) -> None:
    """Backup, loss and restore by command; the person is told whom the restored list admits."""
    (tmp_path / "phrase").write_text("twelve mild winters\n")
    phrase = ("--passphrase-file", tmp_path / "phrase")
    file, made = site_file(tmp_path, "north")
    rounds_hub("admit", file, "--hub", hub, "--fingerprint", made.fingerprint(), *NOBODY)
    assert rounds_hub("backup", tmp_path / "sealed", "--hub", hub, *phrase).exit_code == 0
    shutil.rmtree(hub)
    done = rounds_hub("restore", tmp_path / "sealed", hub, *phrase)
    assert (done.exit_code, "admitted: north. Remove again" in done.stdout) == (0, True), done.output
    assert names(hub) == ["north"]


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (("init", "{hub}", "--name", "x", "--address", "h:1", "--dns", "h"), "holds files already"),
        (("init", "{none}", "--name", "x", "--address", "h:1"), "--dns and --ip: none given"),
        (("init", "{none}", "--name", "", "--address", "h:1", "--dns", "h"), "--name is ''"),
        (("invite", "--hub", "{none}"), "no hub was made there"),
        (("admit", "{none}", "--hub", "{hub}"), "is no introduction of a site"),
        (("remove", "north", "--hub", "{hub}"), "no such site is admitted"),
        (("register", "--hub", "{hub}", "--superlink", "127.0.0.1:1"), "nobody answers there"),
        (("restore", "{none}", "{none}-folder", "--passphrase-file", "{hub}/FEDERATION.json"), "BACKUP is"),
    ],
)
def test_a_mistake_is_one_sentence(
    hub: Path, tmp_path: Path, command: tuple[str, ...], sentence: str
) -> None:
    """Wrong folders, files and options end with exit status 1 and one line."""
    done = rounds_hub(*(word.format(hub=hub, none=tmp_path / "none") for word in command))
    assert done.exit_code == 1, done.output
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "command", ["init", "invite", "admit", "remove", "register", "sites", "renew", "backup", "restore"]
)
def test_every_command_has_an_example(command: str) -> None:
    """`--help` of each command ends with examples of itself."""
    done = rounds_hub(command, "--help")
    assert done.exit_code == 0
    assert f"rounds-hub {command}" in done.stdout
