"""A site's folder: made once, filled in by a person, joined to a federation.

In: a name, and the file that the hub sends back. Out: keys, `site.yaml`, NAME.pub, and the CA's certificate beside
the keys. Only NAME.pub is meant to be sent.
"""

import os
import re
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from client.identity.site_keys import make_keys, site_introduction
from client.identity.site_yaml import editable, text_of
from shared.config.site import SiteName
from shared.errors import ConfigError, TrustError
from shared.trust.hub_invitation import Invitation
from shared.trust.private_files import private_folder, write_file
from shared.trust.site_introduction import Introduction
from shared.whole_file import PUBLIC

SITE_FILE, CA_FILE = "site.yaml", "ca.crt"
_TEMPLATE = """\
# The rules of this hospital. This file never leaves it. Every field: shared/config/site.py.
name: {name}

data:
  source:                # folder or list of images; `rounds-site setup` finds out what is in it
                         # paths in this file start at the folder of the file itself
  # label_map: {{PNEU: pneumonia}}
declared_patients:       # a round number near the truth, typed by a person; public, never a count of the data

cap: {{epsilon: 10.0, delta: 0.00001}}   # the most that all runs together may spend on one patient
show_cap: false
allow_releases: [enrolment, update, ledger_statement, status, error]

accepted_digests: {{}}     # weights that this hospital accepts: digest: public, or private-dp
approved_studies: []     # digests of studies that this hospital has read and approved

reply_after_seconds: auto   # when answers leave: a forecast, a number of seconds, or off (arrival times then tell)
max_enrolments: 8        # how often one study may look whether this site is ready

compute: {{device: cpu}}   # or auto, cuda, cuda:N; also gpu_memory_fraction, threads, patients_per_chunk

weights_dir: {folder}/weights
state_dir: {folder}/state
head_file: {folder}/head/ledger.head   # mount another volume on this folder: it shows that a ledger was restored
keys_dir: {folder}/keys
hub:                     # filled in by `rounds-site join`
"""


def make_site(folder: Path, name: str) -> Introduction:
    """Make keys, site.yaml and NAME.pub; nothing that is there is overwritten. Returns the introduction."""
    try:
        TypeAdapter(SiteName).validate_python(name)
    except ValidationError as error:
        raise ConfigError(
            f"--name is {name!r}, allowed are up to 40 letters, digits, - and _, beginning with a letter or digit; "
            "correct it"
        ) from error
    folder = folder.absolute()
    if (folder / SITE_FILE).exists() or (folder / "keys").exists():
        raise ConfigError(
            f"FOLDER is {str(folder)!r}: a site was made there already; give another folder, or look at it with "
            "`rounds-site keys show`"
        )
    private_folder(folder)
    make_keys(folder / "keys")
    for part in ("state", "head", "weights"):
        private_folder(folder / part)
    text = _TEMPLATE.format(name=name, folder=_scalar_path(folder))
    write_file(folder / SITE_FILE, text.encode())
    return write_introduction(folder, folder / "keys", name)


def write_introduction(folder: Path, keys_dir: Path, name: str) -> Introduction:
    """Write NAME.pub anew from the keys; returns it."""
    introduction = site_introduction(keys_dir, name)
    data = introduction.model_dump_json(indent=1).encode() + b"\n"
    write_file(folder / f"{name}.pub", data, mode=PUBLIC, replace=True)
    return introduction


def join_federation(site_file: Path, invitation: Invitation, *, replace: bool = False) -> None:
    """Put the CA beside the keys and fill in `hub` in site.yaml; everything else in it stays as it was typed.

    A site that has joined stays where it is (`TrustError`) unless `replace` is given.
    """
    raw = editable(site_file)
    keys_dir = site_file.absolute().parent / str(raw.get("keys_dir") or "keys")
    ca_file = keys_dir / CA_FILE
    if (
        raw.get("hub")
        and ca_file.is_file()
        and ca_file.read_text(encoding="ascii") != invitation.ca
        and not replace
    ):
        raise TrustError(
            f"hub in {site_file.name}: is filled in with another CA; if the federation announced a new one, compare "
            "its fingerprint by telephone and give --replace"
        )
    raw["hub"] = {"address": invitation.address, "ca_file": str(ca_file)}
    if not raw.get("keys_dir"):
        raw["keys_dir"] = str(keys_dir)
    write_file(ca_file, invitation.ca.encode(), mode=PUBLIC, replace=True)
    write_file(site_file, text_of(raw).encode(), replace=True)


def _scalar_path(folder: Path) -> str:
    """Return a path that YAML takes as it stands."""
    text = os.fspath(folder)
    if re.search(r"[^\w./+@=~-]", text):
        raise ConfigError(
            f"FOLDER is {text!r}, allowed are letters, digits and . _ - + @ = ~ in its path; choose another folder"
        )
    return text
