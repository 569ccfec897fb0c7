"""New keys of a hospital: its decisions stay, and nothing is let go before the new keys are whole."""

from pathlib import Path

import pytest

from client.consent.approvals import Approvals
from client.consent.key_rotation import replace_both_keys
from client.identity.site_keys import load_approval_key, load_node_key, make_keys
from shared.errors import ApprovalsError

BUNDLE, CODE = "1" * 64, "2" * 64


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return a site that has approved one bundle and forgotten one patient."""
    make_keys(tmp_path / "keys")
    opened(tmp_path).decide("code", "approve", BUNDLE, code_digest=CODE).decide(
        "patient", "forget", CODE, key_mark="m"
    )
    return tmp_path


def opened(site: Path) -> Approvals:
    return Approvals.open(site / "state", site / "head.approvals", site / "keys")


def replace(site: Path) -> int:
    return replace_both_keys(site / "keys", site / "state", site / "head.approvals")


def test_decisions_hold_under_the_new_keys(site: Path) -> None:
    """Both keys change, the record still opens, and what was approved and forgotten still is."""
    before = (
        load_node_key(site / "keys").private_numbers(),
        load_approval_key(site / "keys").private_bytes_raw(),
    )
    assert replace(site) == 3
    after = (
        load_node_key(site / "keys").private_numbers(),
        load_approval_key(site / "keys").private_bytes_raw(),
    )
    assert before[0] != after[0]
    assert before[1] != after[1]
    assert opened(site).allows_code(CODE)
    assert len(opened(site).forgotten()) == 1
    assert sorted(path.name for path in (site / "keys").iterdir()) == ["approval.key", "node.key"]


@pytest.mark.parametrize("moved", [(), ("node.key",)])
def test_a_change_killed_half_way_is_finished_by_the_next(site: Path, moved: tuple[str, ...]) -> None:
    """Killed after the decisions were handed over, before or between the moves: a second call ends with one pair."""
    make_keys(site / "keys" / "next")
    opened(site).adopt_key(site / "keys" / "next")
    for name in moved:
        (site / "keys" / "next" / name).replace(site / "keys" / name)
    with pytest.raises(ApprovalsError, match="not signed with this approval key"):
        opened(site)
    assert replace(site) == 3
    assert opened(site).allows_code(CODE)


def test_decisions_of_a_lost_key_are_not_dropped(site: Path) -> None:
    """Without the old approval key nothing is changed: a forgotten patient would come back unseen."""
    (site / "keys" / "approval.key").unlink()
    with pytest.raises(ApprovalsError, match="put it back from the backup"):
        replace(site)
    assert not (site / "keys" / "approval.key").exists()


def test_a_site_without_decisions_needs_no_old_key(tmp_path: Path) -> None:
    """Where nothing was decided, lost keys are simply made anew."""
    make_keys(tmp_path / "keys")
    (tmp_path / "keys" / "approval.key").unlink()
    assert replace(tmp_path) == 0
    assert load_approval_key(tmp_path / "keys")
