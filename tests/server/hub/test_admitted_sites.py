"""The list of admitted sites: a node key has one name for ever."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from server.hub.admitted_sites import SiteList
from shared.errors import ConfigError, TrustError
from shared.trust.private_files import open_to_others
from shared.trust.site_introduction import introduce

TODAY = date(2026, 11, 20)
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
Node, Approval = ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey


def keys() -> tuple[Node, Approval]:
    return ec.generate_private_key(ec.SECP384R1()), Approval.generate()


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[SiteList]:
    """Open a new list."""
    with SiteList(tmp_path / "sites.sqlite") as opened:
        yield opened


def test_a_site_is_admitted_once(sites: SiteList) -> None:
    """A site stands in the list with its keys and its day; admitting the same file again changes nothing."""
    north = introduce("north", *keys(), TODAY)
    assert sites.admit(north, NOW) is True
    assert sites.admit(north) is False
    (row,) = sites.all()
    assert (row.name, row.node_key, row.approval_key) == ("north", north.node_key, north.approval_key)
    assert (row.admitted, row.removed) == ("2026-11-20T12:00:00+00:00", None)
    assert not open_to_others(sites.path)


def test_a_taken_name_is_refused_with_other_keys(sites: SiteList) -> None:
    """Another hospital cannot take a name, in whatever spelling, and the first one stays."""
    sites.admit(introduce("north", *keys(), TODAY))
    for name in ("north", "North"):
        with pytest.raises(TrustError, match="north is admitted with other keys since"):
            sites.admit(introduce(name, *keys(), TODAY))
    assert len(sites.admitted()) == 1


@pytest.mark.parametrize("shared_key", [0, 1])
@pytest.mark.parametrize("removed", [False, True])
def test_a_key_of_another_site_is_refused(sites: SiteList, shared_key: int, removed: bool) -> None:
    """Neither key may appear under a second name, also when the first site has gone."""
    north, south = list(keys()), list(keys())
    sites.admit(introduce("north", *north, TODAY))
    if removed:
        sites.remove("north")
    south[shared_key] = north[shared_key]
    with pytest.raises(TrustError, match=r"brings (a key that belongs to|the node key of) north"):
        sites.admit(introduce("south", *south, TODAY))


def test_a_removed_node_key_never_comes_back(sites: SiteList) -> None:
    """The same file, or a new file with the old node key, is refused after a removal."""
    node, approval = keys()
    sites.admit(introduce("north", node, approval, TODAY))
    sites.remove("north", NOW)
    for again in (introduce("north", node, approval, TODAY), introduce("north", node, keys()[1], TODAY)):
        with pytest.raises(TrustError, match="removed on 2026-11-20; a removed node key never comes back"):
            sites.admit(again)
    assert sites.admitted() == []


@pytest.mark.parametrize("new_approval", [False, True])
def test_a_site_comes_back_with_a_new_node_key(sites: SiteList, new_approval: bool) -> None:
    """After a lost key a hospital comes back under its name, with its old approval key or a new one."""
    node, approval = keys()
    sites.admit(introduce("north", node, approval, TODAY))
    sites.remove("north")
    fresh_node, fresh_approval = keys()
    back = introduce("north", fresh_node, fresh_approval if new_approval else approval, TODAY)
    assert sites.admit(back) is True
    assert [row.node_key for row in sites.admitted()] == [back.node_key]
    assert len(sites.all()) == 2


def test_an_unsigned_introduction_is_refused(sites: SiteList) -> None:
    """The list itself checks signatures: nothing unsigned gets in by another way."""
    bare = introduce("north", *keys(), TODAY).model_copy(update={"signature": ""})
    with pytest.raises(TrustError, match="altered"):
        sites.admit(bare)
    assert sites.all() == []


def test_removing_nobody_is_one_sentence(sites: SiteList) -> None:
    """A mistyped name, and a second removal, name the sites that are there."""
    sites.admit(introduce("north", *keys(), TODAY))
    with pytest.raises(ConfigError, match="NAME is 'nort': no such site is admitted, admitted are: north"):
        sites.remove("nort")
    sites.remove("north")
    with pytest.raises(ConfigError, match="admitted are: none"):
        sites.remove("north")


def test_a_broken_list_is_one_sentence(tmp_path: Path) -> None:
    """A file that is no list, and a list of a later version, are refused and left alone."""
    noise = tmp_path / "noise.sqlite"
    noise.write_bytes(b"no database" * 100)
    with pytest.raises(ConfigError, match="rounds-hub restore"):
        SiteList(noise)
    assert noise.read_bytes() == b"no database" * 100
    with SiteList(tmp_path / "sites.sqlite") as opened:
        opened.admit(introduce("north", *keys(), TODAY))
    with closing(sqlite3.connect(tmp_path / "sites.sqlite")) as database:
        database.execute("PRAGMA user_version = 9")
    with pytest.raises(ConfigError, match="has format 9, allowed is 1"):
        SiteList(tmp_path / "sites.sqlite")
