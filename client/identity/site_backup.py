"""What of a site must survive its machine: keys, rules, ledger, partitions and weights, in one sealed file.

In: `site.yaml` and a passphrase. Out: a file that stays at the hospital, and a folder again. Two things stay out on
purpose: the head file, because beside the ledger it would be restored to the same past and show nothing; and the
teacher targets, which are computed again.
"""

from pathlib import Path

from client.identity.site_folder import SITE_FILE
from client.ledger.ledger_file import LedgerFile
from shared.config.site import SiteConfig
from shared.errors import ConfigError
from shared.trust.private_files import write_file
from shared.trust.sealed_backup import database_bytes, put_back, read_backup, seal

MAX_WEIGHTS_BYTES = 256 << 20  # of one file: sealing takes some five times as much memory
_COMPUTED_AGAIN = ("targets.sqlite",)
_MOMENTARY = (".lock", "-journal", "-wal", "-shm")
_PUBLIC = (".pub", ".crt")


def back_up_site(site_file: Path, config: SiteConfig, backup: Path, passphrase: str) -> int:
    """Write the sealed backup; returns the ledger's rows in it. `LedgerError` where the ledger is not whole now."""
    if config.keys_dir is None:
        raise ConfigError(
            "keys_dir: is not given; make the site with `rounds-site init`, or name the folder of its keys"
        )
    number = _ledger_rows(config)
    files = {SITE_FILE: site_file.read_bytes()}
    introduction = site_file.parent / f"{config.name}.pub"
    if introduction.is_file():
        files[introduction.name] = introduction.read_bytes()
    for name, folder in (("keys", config.keys_dir), ("state", config.state_dir)):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.name.endswith(_MOMENTARY) and path.name not in _COMPUTED_AGAIN:
                inside = f"{name}/{path.relative_to(folder).as_posix()}"
                files[inside] = database_bytes(path) if path.suffix == ".sqlite" else path.read_bytes()
    files |= _weights(config)
    write_file(backup, seal(files, passphrase))
    return number


def _weights(config: SiteConfig) -> dict[str, bytes]:
    """Return the weights that site.yaml lists and that are here, but for those too large to seal in memory."""
    found: dict[str, bytes] = {}
    for digest in sorted(config.accepted_digests):
        path = config.weights_dir / f"{digest}.safetensors"
        if path.is_file() and path.stat().st_size <= MAX_WEIGHTS_BYTES:
            found[f"weights/{path.name}"] = path.read_bytes()
    return found


def missing_weights(config: SiteConfig) -> list[Path]:
    """Return where weights that site.yaml lists should lie and do not."""
    paths = (config.weights_dir / f"{digest}.safetensors" for digest in sorted(config.accepted_digests))
    return [path for path in paths if not path.is_file()]


def too_large(config: SiteConfig) -> list[Path]:
    """Return the listed weights that no backup holds."""
    paths = (config.weights_dir / f"{digest}.safetensors" for digest in sorted(config.accepted_digests))
    return [path for path in paths if path.is_file() and path.stat().st_size > MAX_WEIGHTS_BYTES]


def restore_site(backup: Path, folder: Path, passphrase: str) -> Path:
    """Put a site back into a new folder; returns its site.yaml. Whether the ledger is the newest is for `verify`."""
    put_back(read_backup(backup, passphrase), folder, public=_PUBLIC)
    return folder / SITE_FILE


def _ledger_rows(config: SiteConfig) -> int:
    """Check the ledger before it is copied: a backup of a damaged one would be found out too late."""
    path = config.state_dir / "ledger.sqlite"
    if not path.is_file():
        return 0
    ledger = LedgerFile(path, config.head_file)
    try:
        return ledger.verify()
    finally:
        ledger.close()
