"""What comes back after a site's machine, its head volume or its key was lost."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from client.identity.site_backup import back_up_site, restore_site
from client.identity.site_folder import make_site
from client.ledger.head_recovery import make_head_file
from client.ledger.ledger import Ledger, RequestKey
from client.readiness.keys_check import key_findings
from client.site.site import Site
from shared.config.files import read_site
from shared.config.site import Cap, SiteConfig
from shared.errors import ConfigError, LedgerError
from shared.privacy.mechanisms import Declared
from shared.trust.private_files import open_to_others
from shared.trust.sealed_backup import unseal
from shared.trust.site_introduction import read_introduction

PHRASE = "twelve mild winters"
SPEND = Declared(epsilon=0.5, delta=0)


class Hospital:
    """A made site that has answered requests; its head file lies on a volume of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "site"
        make_site(self.folder, "north")
        self.head = folder / "second-volume" / "ledger.head"
        text = (self.folder / "site.yaml").read_text()
        text = text.replace("  source:  ", "  source: /data").replace(
            "declared_patients: ", "declared_patients: 600"
        )
        (self.folder / "site.yaml").write_text(
            text.replace(f"{self.folder}/head/ledger.head", str(self.head))
        )

    @property
    def config(self) -> SiteConfig:
        """The site's rules as they stand in its file."""
        return read_site(self.folder / "site.yaml")

    def ledger(self) -> Ledger:
        """Open the ledger as a round does."""
        return Site(self.config).ledger()

    def answer(self, *rounds: int) -> str:
        """Spend on requests; returns the head as a report states it."""
        with self.ledger() as ledger:
            for number in rounds:
                key = RequestKey(study_uid="s", round=number, kind="update")
                ledger.commit(ledger.reserve(key, "a" * 64, SPEND, "train", Cap()), b"reply")
            stated = ledger.statement(1e-5, site="north", span="all runs")
        return f"{stated.head_seq}:{stated.head_hash}"

    def back_up(self, file: Path) -> int:
        """Write a backup."""
        return back_up_site(self.folder / "site.yaml", self.config, file, PHRASE)


@pytest.fixture
def hospital(tmp_path: Path) -> Hospital:
    """Return a hospital with two answers in its ledger."""
    made = Hospital(tmp_path)
    made.answer(1, 2)
    return made


def test_a_lost_machine_comes_back_with_keys_spend_and_partitions(hospital: Hospital, tmp_path: Path) -> None:
    """With the newest backup the site goes on: same keys, same site key, same spend, and only 0600 files."""
    introduction = read_introduction(hospital.folder / "north.pub")
    site_key = Site(hospital.config).key()
    (hospital.config.state_dir / "partitions.sqlite").write_bytes(b"")
    (hospital.config.state_dir / "targets.sqlite").write_bytes(b"computed again")
    assert hospital.back_up(tmp_path / "north.sealed") == 4
    shutil.rmtree(hospital.folder)
    restore_site(tmp_path / "north.sealed", hospital.folder, PHRASE)
    assert read_introduction(hospital.folder / "north.pub") == introduction
    assert Site(hospital.config).key() == site_key
    assert (hospital.config.state_dir / "partitions.sqlite").is_file()
    assert not (hospital.config.state_dir / "targets.sqlite").exists()
    with hospital.ledger() as ledger:
        assert ledger.mechanisms("train") == [SPEND, SPEND]
        assert ledger.verify() == 4
    loose = {path.name for path in hospital.folder.rglob("*") if path.is_file() and open_to_others(path)}
    assert loose <= {"north.pub", "ledger.sqlite.lock"}


def test_listed_weights_come_back(hospital: Hospital, tmp_path: Path) -> None:
    """Weights that site.yaml lists are in the backup, byte for byte; others that lie beside them are not."""
    listed, other = "a" * 64, "b" * 64
    text = (hospital.folder / "site.yaml").read_text()
    (hospital.folder / "site.yaml").write_text(
        text.replace("accepted_digests: {}", f"accepted_digests: {{{listed}: public}}")
    )
    for digest in (listed, other):
        (hospital.config.weights_dir / f"{digest}.safetensors").write_bytes(digest.encode())
    hospital.back_up(tmp_path / "north.sealed")
    shutil.rmtree(hospital.folder)
    restore_site(tmp_path / "north.sealed", hospital.folder, PHRASE)
    (kept,) = hospital.config.weights_dir.iterdir()
    assert (kept.name, kept.read_bytes()) == (f"{listed}.safetensors", listed.encode())


def test_an_older_ledger_is_not_gone_on_with(hospital: Hospital, tmp_path: Path) -> None:
    """A backup from before the last answer is put back, and the site stays stopped: its spend is not known."""
    hospital.back_up(tmp_path / "old.sealed")
    hospital.answer(3)
    shutil.rmtree(hospital.folder)
    restore_site(tmp_path / "old.sealed", hospital.folder, PHRASE)
    with pytest.raises(LedgerError, match="knows 6 rows, the ledger has 4"):
        hospital.ledger()


def test_the_head_file_is_not_in_the_backup(hospital: Hospital, tmp_path: Path) -> None:
    """Neither the second volume nor a head file inside the site's folder is copied."""
    hospital.back_up(tmp_path / "north.sealed")
    names = set(unseal((tmp_path / "north.sealed").read_bytes(), PHRASE))
    assert names == {
        "site.yaml", "north.pub", "keys/node.key", "keys/approval.key", "state/ledger.sqlite", "state/site.key",
    }  # fmt: skip


def test_a_damaged_ledger_is_not_backed_up(hospital: Hospital, tmp_path: Path) -> None:
    """A ledger behind its head file stops the backup, so that the last good one is not replaced by it."""
    hospital.head.write_text(hospital.head.read_text() + f"5 {'0' * 64}\n")
    with pytest.raises(LedgerError, match="knows 5 rows"):
        hospital.back_up(tmp_path / "bad.sealed")
    assert not (tmp_path / "bad.sealed").exists()


def test_a_lost_head_file_is_written_anew_from_a_remembered_head(hospital: Hospital) -> None:
    """With the head of the newest report the head file comes back as it was, and the site goes on."""
    head = hospital.answer(3)
    before = hospital.head.read_bytes()
    hospital.head.unlink()
    with pytest.raises(LedgerError, match="missing beside the ledger of 6 rows"):
        hospital.ledger()
    seq, digest = head.split(":")
    assert make_head_file(hospital.config.state_dir / "ledger.sqlite", hospital.head, int(seq), digest) == (
        6,
        0,
    )
    assert hospital.head.read_bytes() == before
    hospital.answer(4)


def test_a_cut_ledger_gets_no_new_head_file(hospital: Hospital, tmp_path: Path) -> None:
    """An older ledger, a foreign head and the head of an empty ledger are refused; no head file comes to be."""
    old = tmp_path / "old.sqlite"
    shutil.copy(hospital.config.state_dir / "ledger.sqlite", old)
    seq, digest = hospital.answer(3).split(":")
    hospital.head.unlink()
    for ledger, number, remembered in (
        (old, int(seq), digest),
        (hospital.config.state_dir / "ledger.sqlite", 6, "f" * 64),
        (hospital.config.state_dir / "ledger.sqlite", 0, "0" * 64),
    ):
        with pytest.raises(LedgerError):
            make_head_file(ledger, hospital.head, number, remembered)
    assert list(hospital.head.parent.iterdir()) == []


def test_a_head_file_that_is_there_is_never_replaced(hospital: Hospital) -> None:
    """What the head file knows cannot be overwritten by this way."""
    seq, digest = hospital.answer(3).split(":")
    hospital.head.write_text("1 " + "0" * 64 + "\n")
    with pytest.raises(LedgerError, match="is never replaced"):
        make_head_file(hospital.config.state_dir / "ledger.sqlite", hospital.head, int(seq), digest)


def test_a_lost_site_key_stops_the_site(hospital: Hospital) -> None:
    """Beside a ledger no new site key is made: patients would change their partitions."""
    (hospital.config.state_dir / "site.key").unlink()
    with pytest.raises(LedgerError, match=r"site\.key: is missing beside a ledger"):
        hospital.ledger()
    with pytest.raises(LedgerError, match=r"site\.key: is missing beside a ledger"):
        Site(hospital.config).key()
    assert not (hospital.config.state_dir / "site.key").exists()
    assert any(one.mark == "fail" and one.what == "site key" for one in key_findings(hospital.config))


def test_a_site_without_keys_has_nothing_to_back_up(hospital: Hospital, tmp_path: Path) -> None:
    """Without keys_dir the sentence names the field."""
    config = hospital.config.model_copy(update={"keys_dir": None})
    with pytest.raises(ConfigError, match="keys_dir: is not given"):
        back_up_site(hospital.folder / "site.yaml", config, tmp_path / "x", PHRASE)


@pytest.mark.parametrize(
    ("damage", "what", "sentence"),
    [
        (lambda keys: (keys / "node.key").chmod(0o644), "keys", "node.key may be read by other accounts"),
        (lambda keys: (keys / "node.key").unlink(), "node key", "cannot be read as a key"),
        (lambda keys: (keys / "approval.key").write_text(""), "approval key", "cannot be read as a key"),
    ],
)
def test_check_names_a_key_that_is_lost_or_open(
    hospital: Hospital, damage: Any, what: str, sentence: str
) -> None:
    """`rounds-site check` fails on a key that is missing, torn or open to other accounts."""
    assert [one.mark for one in key_findings(hospital.config)] == ["ok", "ok", "warn"]
    damage(hospital.folder / "keys")
    assert any(
        (one.mark, one.what) == ("fail", what) and sentence in one.sentence
        for one in key_findings(hospital.config)
    )
