"""A backup as one sealed file: private keys lie on no tape or share in the clear.

In: files by relative name, and a passphrase. Out: one file, and the files again. Sealed by Fernet (AES-128-CBC and
HMAC-SHA256) under a key that scrypt makes of the passphrase (n 2^17, r 8, p 1: about 0.4 s and 128 MiB a try), as the
documentation of `cryptography` recommends. Without the passphrase nobody opens it, its owner included.
"""

import base64
import io
import secrets
import sqlite3
import tarfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from shared.errors import ConfigError, TrustError
from shared.trust.private_files import PRIVATE, private_folder, write_file
from shared.whole_file import PUBLIC

_MAGIC = b"teaching-rounds backup 1\n"
_SALT_BYTES = 16
MIN_PASSPHRASE = 12


def seal(files: Mapping[str, bytes], passphrase: str) -> bytes:
    """Return the sealed file; `ConfigError` for a passphrase that is too short to protect it."""
    if len(passphrase) < MIN_PASSPHRASE:
        raise ConfigError(
            f"passphrase has {len(passphrase)} characters, allowed are {MIN_PASSPHRASE} or more; take several words"
        )
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    salt = secrets.token_bytes(_SALT_BYTES)
    return _MAGIC + salt + _fernet(passphrase, salt).encrypt(packed.getvalue())


def unseal(sealed: bytes, passphrase: str) -> dict[str, bytes]:
    """Return the files; `TrustError` for a wrong passphrase and for a file that was altered or cut."""
    if not sealed.startswith(_MAGIC):
        raise TrustError("BACKUP: is no backup in format 1; give the file that `backup` wrote")
    body = sealed[len(_MAGIC) :]
    try:
        packed = _fernet(passphrase, body[:_SALT_BYTES]).decrypt(body[_SALT_BYTES:])
    except InvalidToken as error:
        raise TrustError(
            "BACKUP: does not open; the passphrase is another one, or the file was altered or cut"
        ) from error
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        found = {entry.name: archive.extractfile(entry) for entry in archive.getmembers()}
        return {name: file.read() for name, file in found.items() if file is not None}


def read_backup(path: Path, passphrase: str) -> dict[str, bytes]:
    """Return the files of a backup on disk; `ConfigError` where it cannot be read."""
    try:
        return unseal(path.read_bytes(), passphrase)
    except OSError as error:
        raise ConfigError(
            f"BACKUP is {str(path)!r}: cannot be read ({error.strerror}); give the file"
        ) from error


def put_back(files: Mapping[str, bytes], folder: Path, *, public: tuple[str, ...] = ()) -> None:
    """Write files below a folder that is new or empty; those whose names end as in `public` may be read by all."""
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"FOLDER is {str(folder)!r}: holds files already; give a new or empty folder")
    private_folder(folder)
    for name, data in files.items():
        path = folder / name
        private_folder(path.parent)
        write_file(path, data, mode=PUBLIC if name.endswith(public) else PRIVATE)


def database_bytes(path: Path) -> bytes:
    """Return a whole SQLite file as of one moment, also while others write to it."""
    original = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    with closing(original) as source, closing(sqlite3.connect(":memory:")) as copy:
        source.backup(copy)
        return copy.serialize()


def _fernet(passphrase: str, salt: bytes) -> Fernet:
    key = Scrypt(salt=salt, length=32, n=2**17, r=8, p=1).derive(passphrase.encode())
    return Fernet(base64.urlsafe_b64encode(key))
