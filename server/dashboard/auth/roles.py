"""The three roles; each may do what those before it may.

A viewer reads. An auditor also decides whether a student may be used. A coordinator also looks after accounts
and sees how sites are connected, which no result rests on.
"""

from typing import Final

ROLES: Final = ("viewer", "auditor", "coordinator")


def at_least(role: str, wanted: str) -> bool:
    """Tell whether a role may do what `wanted` may."""
    return ROLES.index(role) >= ROLES.index(wanted)
