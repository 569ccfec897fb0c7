"""Has the hub admitted this site's key? Asked with the key itself, by a question that changes nothing at the hub.

In: the hub's address, the CA file and the site's node key. Out: one finding. What leaves is the public key and a signed
time, as with every request of the site's node; nothing of patients.
"""

from pathlib import Path

import httpx

from client.flower.key_probe import ADMITTED, NOT_ADMITTED, NOT_BELIEVED, key_refusal
from client.identity.site_keys import load_node_key
from client.readiness.finding import Finding
from shared.errors import TrustError

_WHAT = "key"
_TOLD: dict[int, Finding] = {
    ADMITTED: Finding("ok", _WHAT, "the hub has admitted this site's key"),
    NOT_ADMITTED: Finding(
        "fail",
        _WHAT,
        "the hub has not admitted this site's key, or has removed it; send it the site's .pub file again",
    ),
    NOT_BELIEVED: Finding(
        "fail",
        _WHAT,
        "the hub did not believe this site's signature; look at the clock, then ask the coordinator",
    ),
}


def admission_finding(hub: str, ca_file: Path, keys_dir: Path | None) -> Finding:
    """Ask the hub at host:port whether it knows the site's node key; a warning where it does not tell."""
    if keys_dir is None:
        sentence = "keys_dir is not given: there is no key to ask with; make keys with `rounds-site init`"
        return Finding("warn", _WHAT, sentence)
    try:
        code = key_refusal(hub, ca_file.read_bytes(), load_node_key(keys_dir))
    except TrustError as error:
        return Finding("fail", _WHAT, str(error))
    except httpx.HTTPError as error:
        sentence = (
            f"the hub did not tell ({type(error).__name__}); ask the coordinator whether it admitted this key"
        )
        return Finding("warn", _WHAT, sentence)
    sentence = (
        f"the hub answered {code}, which tells nothing; ask the coordinator whether it admitted this key"
    )
    return _TOLD.get(code, Finding("warn", _WHAT, sentence))
