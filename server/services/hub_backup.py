"""What of the hub must survive its machine: CAs, secrets, lists, bundles, offers, audit store, in one sealed file.

In: the hub's folder and a passphrase. Out: a file, and a folder again. Results of studies are plain files beside it
and are not part of this; the SuperLink's database is not needed, for its registrations are made anew. Of a store that
is a file everything is kept but the blobs, which the studies' folders send again; one in PostgreSQL is not part of it.
"""

from pathlib import Path

from server.feed.sender_certificates import Senders
from server.hub.hub_folder import HubFolder, open_hub, verify_hub
from server.store.backup_copy import bytes_without_blobs
from shared.trust.private_files import write_file
from shared.trust.sealed_backup import database_bytes, put_back, read_backup, seal

_PUBLIC = (".crt", "FEDERATION.json")


def back_up_hub(hub: HubFolder, backup: Path, passphrase: str) -> int:
    """Write the sealed backup; returns the number of sites in its list. An older backup is never overwritten."""
    kept = [
        hub.invitation_file,
        hub.ca_file,
        hub.ca_key,
        hub.certificate_file,
        hub.key_file,
        hub.superexec_secret,
        *Senders(hub.feed).kept(),
        *_below(hub.path / "offers"),
        *_below(hub.path / "registry"),
    ]
    files = {path.relative_to(hub.path).as_posix(): path.read_bytes() for path in kept if path.is_file()}
    with hub.sites() as sites:
        files["sites.sqlite"] = database_bytes(sites.path)
        number = len(sites.admitted())
    if hub.own_store.is_file():
        files[hub.own_store.relative_to(hub.path).as_posix()] = bytes_without_blobs(hub.own_store)
    write_file(backup, seal(files, passphrase))
    return number


def _below(folder: Path) -> list[Path]:
    """Return the whole files below a folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".part")


def restore_hub(backup: Path, folder: Path, passphrase: str) -> HubFolder:
    """Put a hub back into a new folder and check it; sites notice nothing while its CA is the same."""
    put_back(read_backup(backup, passphrase), folder, public=_PUBLIC)
    hub = open_hub(folder)
    verify_hub(hub)
    return hub
