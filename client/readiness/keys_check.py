"""Are the hospital's keys here, of the right kinds, and closed to others? Answered without sending anything.

In: `keys_dir` and `hub` of site.yaml. Out: findings for the hospital; nothing leaves.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from cryptography import x509

from client.identity.site_keys import APPROVAL_FILE, NODE_FILE, load_approval_key, load_node_key
from client.readiness.finding import Finding, tried
from shared.config.site import SiteConfig
from shared.trust.private_files import open_to_others

_WARN_DAYS = 60


def key_findings(config: SiteConfig) -> Iterator[Finding]:
    """Yield what is to be said of the keys and of the CA; simulated sites have only the key of their state."""
    if (config.state_dir / "ledger.sqlite").is_file() and not (config.state_dir / "site.key").is_file():
        yield Finding("fail", "site key", "site.key is missing beside a ledger; put it back from the backup")
    if config.keys_dir is None:
        if config.approved_studies != "any-in-simulation":
            yield Finding(
                "warn",
                "keys",
                "keys_dir is not given: a SuperNode needs it; make keys with `rounds-site init`",
            )
        return
    folder = config.keys_dir
    yield tried("node key", lambda: load_node_key(folder), "is here")
    yield tried("approval key", lambda: load_approval_key(folder), "is here")
    for path in (folder / NODE_FILE, folder / APPROVAL_FILE):
        if path.is_file() and open_to_others(path):
            sentence = f"{path.name} may be read by other accounts of this machine; chmod 600 {path}"
            yield Finding("fail", "keys", sentence)
    yield _authority(config)


def _authority(config: SiteConfig) -> Finding:
    if config.hub is None:
        sentence = (
            "hub is not filled in: the site has joined no federation yet; `rounds-site join FEDERATION.json`"
        )
        return Finding("warn", "federation", sentence)
    try:
        ca = x509.load_pem_x509_certificate(config.hub.ca_file.read_bytes())
    except (OSError, ValueError):
        sentence = f"hub.ca_file {config.hub.ca_file}: is no certificate; join again with `rounds-site join --replace`"
        return Finding("fail", "federation", sentence)
    left = (ca.not_valid_after_utc - datetime.now(UTC)).days
    sentence = f"{config.hub.address}, whose CA holds until {ca.not_valid_after_utc:%Y-%m-%d}"
    if left < 0:
        return Finding(
            "fail", "federation", f"{sentence}: it has ended; ask the hub for a new FEDERATION.json"
        )
    return Finding("warn" if left < _WARN_DAYS else "ok", "federation", sentence)
