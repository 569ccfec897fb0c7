"""The record of a hospital's decisions: the last one counts, and a record that is not whole stops the site."""

from collections.abc import Callable
from pathlib import Path

import pytest

from client.consent.approvals import Approvals
from shared.errors import ApprovalsError
from tests.probe_app import new_key

ONE, TWO = "1" * 64, "2" * 64


def opened(folder: Path, keys: str = "keys") -> Approvals:
    """Open the decisions of a folder."""
    return Approvals.open(folder / "state", folder / "volume" / "head.approvals", folder / keys)


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """Return a folder of three decisions."""
    new_key(tmp_path / "keys")
    approvals = opened(tmp_path).decide("code", "approve", ONE, code_digest=TWO)
    approvals.decide("study", "approve", TWO).decide("patient", "forget", ONE, key_mark="m")
    return tmp_path


def lines(folder: Path) -> list[str]:
    return (folder / "state" / "approvals.jsonl").read_text().splitlines(keepends=True)


def put(folder: Path, changed: list[str]) -> None:
    (folder / "state" / "approvals.jsonl").write_text("".join(changed))


def test_the_last_decision_counts(filled: Path) -> None:
    """Approved, withdrawn, approved again: each opening finds the last; of another digest nothing is said."""
    assert opened(filled).is_approved("code", ONE) is True
    opened(filled).decide("code", "withdraw", ONE)
    assert opened(filled).is_approved("code", ONE) is False
    assert not opened(filled).allows_code(TWO)
    opened(filled).decide("code", "approve", ONE, code_digest=TWO)
    assert opened(filled).is_approved("code", ONE) is True
    assert opened(filled).allows_code(TWO)
    assert opened(filled).is_approved("code", TWO) is None


def test_the_same_decision_is_recorded_once(filled: Path) -> None:
    """Deciding again what holds already adds no line."""
    opened(filled).decide("study", "approve", TWO)
    assert len(lines(filled)) == 3


def test_nothing_decided_needs_no_key_and_writes_nothing(tmp_path: Path) -> None:
    """A site without decisions opens without a key, and looking begins no record."""
    assert opened(tmp_path).entries == ()
    assert list(tmp_path.iterdir()) == []


def _altered(folder: Path) -> None:
    put(folder, [line.replace(ONE, "3" * 64) for line in lines(folder)])


def _unsigned(folder: Path) -> None:
    first, *others = lines(folder)
    signature = first.split('"signature":"')[1].split('"')[0]
    put(folder, [first.replace(signature, "0" * 128), *others])


def _head_too(folder: Path) -> None:
    head = folder / "volume" / "head.approvals"
    _cut(folder)
    head.write_text("".join(head.read_text().splitlines(keepends=True)[:-1]))
    _altered(folder)


def _cut(folder: Path) -> None:
    put(folder, lines(folder)[:-1])


DAMAGE: dict[str, Callable[[Path], object]] = {
    "altered": _altered,
    "signature removed": _unsigned,
    "cut": _cut,
    "emptied": lambda folder: put(folder, []),
    "first removed": lambda folder: put(folder, lines(folder)[1:]),
    "reordered": lambda folder: put(folder, [lines(folder)[i] for i in (1, 0, 2)]),
    "repeated": lambda folder: put(folder, [*lines(folder), lines(folder)[-1]]),
    "deleted": lambda folder: (folder / "state" / "approvals.jsonl").unlink(),
    "head file deleted": lambda folder: (folder / "volume" / "head.approvals").unlink(),
    "altered with its head file": _head_too,
    "another key": lambda folder: new_key(folder / "keys"),
    "no key": lambda folder: (folder / "keys" / "approval.key").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_record_that_is_not_whole_stops_the_site(filled: Path, damage: str) -> None:
    """Whatever is altered, cut, moved or signed by another is seen at opening, in one sentence."""
    assert len(opened(filled).entries) == 3
    DAMAGE[damage](filled)
    with pytest.raises(ApprovalsError, match=r"put back|put the (record|file)|check keys_dir"):
        opened(filled)


def test_a_crash_within_a_line_loses_nothing(filled: Path) -> None:
    """Half a line that no head knows was never decided: it is passed over, and the next decision replaces it."""
    with (filled / "state" / "approvals.jsonl").open("a") as file:
        file.write('{"number":4,"kind":"co')
    assert len(opened(filled).entries) == 3
    opened(filled).decide("study", "withdraw", TWO)
    assert [one.number for one in opened(filled).entries] == [1, 2, 3, 4]


def test_a_new_key_vouches_for_earlier_decisions(filled: Path) -> None:
    """Handed over by the old key, decisions hold under the new one; alterations before the change are still seen."""
    new_key(filled / "new")
    old = opened(filled)
    old.adopt_key(filled / "new")
    after = opened(filled, "new").decide("study", "withdraw", TWO)
    assert after.is_approved("code", ONE)
    assert after.is_approved("study", TWO) is False
    assert after.code_key() != old.code_key()
    with pytest.raises(ApprovalsError, match="not signed with this approval key"):
        opened(filled)
    _altered(filled)
    with pytest.raises(ApprovalsError):
        opened(filled, "new")


def test_each_withdrawal_makes_another_code_key(filled: Path) -> None:
    """The key that signs bundles stays while bundles are approved, and changes when one is withdrawn."""
    first = opened(filled).code_key().private_bytes_raw()
    approvals = opened(filled).decide("code", "approve", TWO, code_digest=ONE)
    assert approvals.code_key().private_bytes_raw() == first
    assert approvals.decide("code", "withdraw", ONE).code_key().private_bytes_raw() != first
