"""`rounds-site init`, `join`, `keys`, `backup` and `restore`, as a person types them."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from client.cli.program import app
from client.site.site import Site
from server.hub.certificates import make_authority
from shared.config.files import read_site
from shared.trust.fingerprint import words
from shared.trust.hub_invitation import Invitation
from shared.trust.site_introduction import read_introduction


def rounds_site(*typed: object, answer: str | None = None) -> Result:
    """Run a command; `answer` is what the person types when asked."""
    return CliRunner().invoke(app, [str(word) for word in typed], input=answer)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return the site.yaml of a made site, filled in."""
    done = rounds_site("init", tmp_path / "site", "--name", "north")
    assert done.exit_code == 0, done.output
    file = tmp_path / "site" / "site.yaml"
    text = file.read_text().replace("  source:  ", "  source: /data")
    file.write_text(text.replace("declared_patients: ", "declared_patients: 600"))
    return file


@pytest.fixture
def sent(tmp_path: Path) -> Path:
    """Return FEDERATION.json as a hub sends it."""
    ca = make_authority("lungs", datetime.now(UTC)).certificate_pem()
    path = tmp_path / "FEDERATION.json"
    path.write_bytes(Invitation.of("lungs", "hub.example.org:8000", ca).to_json())
    return path


def spoken(sent: Path) -> str:
    return words(json.loads(sent.read_text())["fingerprint"])


def test_init_and_show_say_the_same_words(site: Path) -> None:
    """What is read out after `init` is what `keys show` says later, and what the file itself has."""
    introduction = read_introduction(site.parent / "north.pub")
    (site.parent / "north.pub").unlink()
    shown = rounds_site("keys", "show", site)
    assert shown.exit_code == 0, shown.output
    assert words(introduction.fingerprint()) in shown.stdout
    assert introduction.node_key in shown.stdout
    assert read_introduction(site.parent / "north.pub").fingerprint() == introduction.fingerprint()


def test_private_keys_are_never_printed(site: Path) -> None:
    """No command shows a line of a private key."""
    said = rounds_site("keys", "show", site).output + rounds_site("keys", "new", site, "--yes").output
    for key in (site.parent / "keys").glob("*.key"):
        assert not any(line in said for line in key.read_text().splitlines()[1:-1])


def test_join_asks_for_the_words_and_takes_the_right_ones(site: Path, sent: Path) -> None:
    """The words are typed, not shown beforehand; then hub in site.yaml is filled in."""
    done = rounds_site("join", sent, "--site", site, answer=spoken(sent) + "\n")
    assert done.exit_code == 0, done.output
    assert spoken(sent) not in done.output.replace(f"Words: {spoken(sent)}", "")
    assert read_site(site).hub is not None


@pytest.mark.parametrize("by_option", [True, False])
def test_join_refuses_another_fingerprint(site: Path, sent: Path, by_option: bool) -> None:
    """A mismatch is one sentence with exit status 1, and site.yaml is untouched."""
    before = site.read_bytes()
    other = words("00" * 32)
    done = (
        rounds_site("join", sent, "--site", site, "--fingerprint", other)
        if by_option
        else rounds_site("join", sent, "--site", site, answer=other + "\n")
    )
    assert done.exit_code == 1
    assert "fingerprint: what the hub reads out is not that of this file" in done.stderr
    assert site.read_bytes() == before
    assert not (site.parent / "keys" / "ca.crt").exists()


def test_a_new_ca_needs_replace(site: Path, sent: Path, tmp_path: Path) -> None:
    """A second federation file with another CA is refused, and taken with --replace."""
    assert rounds_site("join", sent, "--site", site, "--fingerprint", spoken(sent)).exit_code == 0
    ca = make_authority("lungs", datetime.now(UTC)).certificate_pem()
    other = tmp_path / "OTHER.json"
    other.write_bytes(Invitation.of("lungs", "hub.example.org:8000", ca).to_json())
    command = ("join", other, "--site", site, "--fingerprint", spoken(other))
    refused = rounds_site(*command)
    assert (refused.exit_code, "another CA" in refused.stderr) == (1, True)
    assert rounds_site(*command, "--replace").exit_code == 0


def test_new_keys_are_made_only_when_confirmed(site: Path) -> None:
    """A no leaves the keys as they are; a yes changes one key, --approval both."""
    file = site.parent / "north.pub"
    first = read_introduction(file)
    assert rounds_site("keys", "new", site, answer="n\n").exit_code == 1
    assert read_introduction(file) == first
    assert rounds_site("keys", "new", site, answer="y\n").exit_code == 0
    second = read_introduction(file)
    assert (second.node_key != first.node_key, second.approval_key) == (True, first.approval_key)
    done = rounds_site("keys", "new", site, "--approval", "--yes")
    assert "rounds-hub remove north" in done.stdout
    assert read_introduction(file).approval_key != first.approval_key


def test_a_backup_is_put_back_whole(site: Path, tmp_path: Path) -> None:
    """Backup, loss and restore by command; a ledger that is not the newest ends with exit status 1."""
    phrase = tmp_path / "phrase"
    phrase.write_text("twelve mild winters\n")
    options = ("--passphrase-file", phrase)
    config = read_site(site)
    with Site(config).ledger():
        pass
    for name in ("old", "other"):
        done = rounds_site("backup", site, tmp_path / name, *options)
        assert (done.exit_code, "a ledger of 0 rows" in done.stdout) == (0, True), done.output
    head = config.head_file.read_bytes()
    shutil.rmtree(site.parent)
    config.head_file.parent.mkdir(parents=True)
    config.head_file.write_bytes(head)
    refused = rounds_site("restore", tmp_path / "old", site.parent, *options)
    assert (refused.exit_code, "holds files already" in refused.stderr) == (1, True)
    shutil.rmtree(site.parent)
    restored = rounds_site("restore", tmp_path / "old", site.parent, *options)
    assert (restored.exit_code, "whole and the newest" in restored.stdout) == (0, True), restored.output
    elsewhere = rounds_site("restore", tmp_path / "other", tmp_path / "elsewhere", *options)
    assert (elsewhere.exit_code, "state_dir is" in elsewhere.stderr) == (1, True)


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (("init", "{site}", "--name", "north"), "a site was made there already"),
        (("join", "{none}", "--site", "{site}/site.yaml"), "is no federation file in format 1"),
        (("keys", "show", "{none}"), "cannot be read: there is no such file"),
        (("backup", "{site}/site.yaml", "{none}", "--passphrase-file", "{none}"), "--passphrase-file"),
        (("restore", "{none}", "{none}-folder", "--passphrase-file", "{site}/site.yaml"), "BACKUP is"),
        (("ledger", "new-head", "{site}/site.yaml", "--head", "x"), "--head is 'x', allowed is ROW:HASH"),
        (("ledger", "new-head", "{site}/site.yaml", "--head", "1:aa"), "put back the newest ledger"),
    ],
)
def test_a_mistake_is_one_sentence(
    site: Path, tmp_path: Path, command: tuple[str, ...], sentence: str
) -> None:
    """Wrong folders, files and options end with exit status 1 and one line."""
    places: dict[str, Any] = {"site": site.parent, "none": tmp_path / "none"}
    done = rounds_site(*(word.format(**places) for word in command))
    assert done.exit_code == 1, done.output
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "command",
    [
        ("init",),
        ("join",),
        ("keys", "show"),
        ("keys", "new"),
        ("backup",),
        ("restore",),
        ("ledger", "new-head"),
    ],
)
def test_every_command_has_an_example(command: tuple[str, ...]) -> None:
    """`--help` of each command ends with examples of itself."""
    done = rounds_site(*command, "--help")
    assert done.exit_code == 0
    assert f"rounds-site {' '.join(command)}" in done.stdout
