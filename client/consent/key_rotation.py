"""Both keys of a hospital made anew, with its decisions carried over.

In: the folder of the old keys and the record of decisions. Out: new keys in their place. Nothing leaves; the public
halves go out with the next introduction.
"""

from pathlib import Path

from client.consent.approvals import Approvals
from client.identity.site_keys import APPROVAL_FILE, NODE_FILE, make_keys
from shared.errors import ApprovalsError
from shared.whole_file import sync_folder

_NEXT = "next"  # below keys_dir: made whole before anything old is let go


def replace_both_keys(keys_dir: Path, state_dir: Path, head_file: Path) -> int:
    """Make both keys anew; the new approval key vouches for all decisions so far, and their number is returned.

    Killed half-way, a second call finishes the first. `ApprovalsError` where decisions exist that the old key, lost
    or altered, cannot confirm: its backup must be put back, or nobody could tell which patients to leave out.
    """
    made = keys_dir / _NEXT
    if not (made / APPROVAL_FILE).is_file() or not _is_adopted(made, state_dir, head_file):
        for name in (NODE_FILE, APPROVAL_FILE):
            (made / name).unlink(missing_ok=True)
        make_keys(made)
        Approvals.open(state_dir, head_file, keys_dir).adopt_key(made)
    adopted = Approvals.open(state_dir, head_file, made)
    for name in (NODE_FILE, APPROVAL_FILE):
        if (made / name).is_file():
            (made / name).replace(keys_dir / name)
            sync_folder(keys_dir)
    made.rmdir()
    return len(adopted.entries)


def _is_adopted(made: Path, state_dir: Path, head_file: Path) -> bool:
    try:
        return bool(Approvals.open(state_dir, head_file, made).entries)
    except ApprovalsError:
        return False
