"""What was measured of who trained the student, for the privacy page.

In: the record of the newest measurement, where there is one. Out: its finding and rows, or that there is none, and why.
"""

import sqlalchemy as sa

from server.dashboard.views.head import Head
from server.dashboard.views.privacy_rows import documents
from server.metrics.membership_result import Membership
from server.presentation.membership_statements import MembershipView, membership_view


def membership_of(connection: sa.Connection, head: Head) -> MembershipView:
    """Read the study's record, in one statement; a store that has none opens as ever."""
    found = documents(connection, head.uid, ("membership",)).get("membership")
    made = head.data is not None and head.data.data_kind == "made"
    return membership_view(None if found is None else Membership.model_validate(found), is_made=made)
