"""What follows from the hospital's approvals of code: the signatures for the hub, and the one key its node trusts.

In: the approvals and the approval key. Out: a signatures file, which the hospital sends the hub, and the file for
`flower-supernode --trusted-entities` (flwr 1.41), which stays. Both are public; neither holds a private key.
"""

from pathlib import Path

import yaml

from client.consent.approvals import Approvals
from client.identity.approval_key import load_approval_key
from shared.trust.bundle_signatures import Signatures, key_id, openssh, sign_bundle
from shared.whole_file import whole_file

TRUSTED_FILE = "trusted-entities.yaml"


def signatures(approvals: Approvals, site: str) -> Signatures:
    """Return the hospital's signatures on every bundle that it approves now, and on no other."""
    approval_key, code_key = load_approval_key(approvals.keys_dir), approvals.code_key()
    return Signatures(
        site=site,
        number=approvals.number,
        approval_key=openssh(approval_key.public_key()),
        code_key=openssh(code_key.public_key()),
        bundles=tuple(sign_bundle(code_key, one.digest, one.made) for one in approvals.approved_bundles()),
    ).signed(approval_key)


def trusted_entities(approvals: Approvals) -> dict[str, str]:
    """Return Flower's map of key names to keys: exactly this hospital's code key.

    Flower runs what any one listed key signed, so no other may be listed; and it checks nothing at all where the
    map is empty, so the key is listed even while nothing is approved.
    """
    key = openssh(approvals.code_key().public_key())
    return {key_id(key): key}


def write_trusted_entities(approvals: Approvals, folder: Path) -> Path:
    """Write the node's file anew; call it at every start of the node, which reads the file only then.

    A node that was started before a withdrawal still trusts the key before it: start it again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / TRUSTED_FILE
    with whole_file(path) as part:
        part.write_text(yaml.safe_dump(trusted_entities(approvals)), encoding="utf-8")
    return path
