"""Has the hub admitted this site's key? Asked with the key itself, by a question that changes nothing at the hub.

In: the hub's address, the CA file and the site's node key. Out: one finding. What leaves is the public key and a signed
time, as with every request of the site's node; nothing of patients.
"""

from pathlib import Path

import httpx
from flwr.common.constant import HEARTBEAT_MIN_INTERVAL
from flwr.proto.fleet_pb2 import ActivateNodeRequest
from flwr.supercore.error import ApiErrorCode, FlowerError
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from client.identity.site_keys import load_node_key
from client.readiness.finding import Finding
from shared.errors import TrustError

# Flower 1.41 looks the key up first and at the interval between heartbeats second, and does what is asked third: an
# interval that it cannot take tells of the key alone (flwr/superlink/servicer/fleet/fleet_handlers.py, activate_node)
NO_INTERVAL = HEARTBEAT_MIN_INTERVAL - 1
_WHAT = "key"
_TOLD: dict[int, Finding] = {
    ApiErrorCode.FLEET_INVALID_HEARTBEAT_INTERVAL: Finding(
        "ok", _WHAT, "the hub has admitted this site's key"
    ),
    ApiErrorCode.FLEET_NODE_ACTIVATION_FAILED: Finding(
        "fail",
        _WHAT,
        "the hub has not admitted this site's key, or has removed it; send it the site's .pub file again",
    ),
    httpx.codes.UNAUTHORIZED: Finding(
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
        code = _refusal(hub, ca_file.read_bytes(), keys_dir)
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


def _refusal(hub: str, ca: bytes, keys_dir: Path) -> int:
    """Return Flower's code for why it refused, or the status of the answer where it gives none."""
    key = load_node_key(keys_dir)
    public = key.public_key()
    client = FleetHttpClient.from_server_address(hub, False, ca, [NodeAuthHttpInterceptor(key, public)])
    try:
        request = ActivateNodeRequest(public_key=public_key_to_bytes(public), heartbeat_interval=NO_INTERVAL)
        client.ActivateNode(request)
    except httpx.HTTPStatusError as error:
        told = FlowerError.from_json(error.response.text)
        return error.response.status_code if told is None else int(told.code)
    finally:
        client.close()
    return int(httpx.codes.OK)
