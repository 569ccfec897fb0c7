"""How often a wrong password may be given: counted in the store, before anything is hashed.

In: a person's name and an address. Out: how many seconds to wait, 0 for none. All workers count together, and a
restart forgets nothing. Five wrong tries a minute are heard, for one account and from one address.
"""

import hashlib
import ipaddress
from datetime import UTC, datetime, timedelta
from typing import Final

import sqlalchemy as sa

from server.store.schema import ATTEMPTS

MOST: Final = 5
WINDOW: Final = timedelta(minutes=1)
_KEPT: Final = timedelta(hours=1)
_IPV6_NETWORK: Final = 64  # what one customer has: a single address of it costs an attacker nothing


def seconds_to_wait(connection: sa.Connection, person: str, address: str, now: datetime | None = None) -> int:
    """Return how long this person's account, or this address, is not heard."""
    moment = now or datetime.now(UTC)
    longest = 0
    for column, value in ((ATTEMPTS.c.person, _key(person)), (ATTEMPTS.c.address, address)):
        recent = (
            sa.select(ATTEMPTS.c.time).where(column == value, ATTEMPTS.c.time > moment - WINDOW)
            .order_by(ATTEMPTS.c.time.desc()).limit(MOST)
        )  # fmt: skip
        times = connection.execute(recent).scalars().all()
        if len(times) == MOST:
            longest = max(longest, round((times[-1] + WINDOW - moment).total_seconds()) or 1)
    return longest


def note_wrong(connection: sa.Connection, person: str, address: str, now: datetime | None = None) -> None:
    """Count one wrong try, and forget those of long ago."""
    moment = now or datetime.now(UTC)
    connection.execute(sa.delete(ATTEMPTS).where(ATTEMPTS.c.time < moment - _KEPT))
    connection.execute(sa.insert(ATTEMPTS).values(person=_key(person), address=address, time=moment))


def _key(person: str) -> str:
    """Return what a name is counted under: somebody may have typed a password there."""
    return hashlib.sha256(person.encode()).hexdigest()


def counted_address(host: str) -> str:
    """Return what an address is counted as: an IPv6 address by its network."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host[:64]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, _IPV6_NETWORK), strict=False))
    return str(address)
