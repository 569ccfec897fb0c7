"""Ask a hub's SuperLink about a node key, by a question that changes nothing there.

In: the hub's address, the CA and the site's node key. Out: how the SuperLink refused. What leaves is the public key and
a signed time, as with every request of the site's node; nothing of patients.
"""

from typing import Final

import httpx
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from flwr.common.constant import HEARTBEAT_MIN_INTERVAL
from flwr.proto.fleet_pb2 import ActivateNodeRequest
from flwr.supercore.error import ApiErrorCode, FlowerError
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

ADMITTED: Final = int(ApiErrorCode.FLEET_INVALID_HEARTBEAT_INTERVAL)
NOT_ADMITTED: Final = int(ApiErrorCode.FLEET_NODE_ACTIVATION_FAILED)
NOT_BELIEVED: Final = int(httpx.codes.UNAUTHORIZED)
# Flower 1.41 looks the key up first and at the interval between heartbeats second, and does what is asked third: an
# interval that it cannot take tells of the key alone (flwr/superlink/servicer/fleet/fleet_handlers.py, activate_node)
_NO_INTERVAL = HEARTBEAT_MIN_INTERVAL - 1


def key_refusal(hub: str, ca: bytes, key: EllipticCurvePrivateKey) -> int:
    """Return Flower's code for why host:port refused the key's node, or the answer's HTTP status without one.

    Errors: `httpx.HTTPError` where the hub does not answer.
    """
    public = key.public_key()
    client = FleetHttpClient.from_server_address(hub, False, ca, [NodeAuthHttpInterceptor(key, public)])
    try:
        request = ActivateNodeRequest(public_key=public_key_to_bytes(public), heartbeat_interval=_NO_INTERVAL)
        client.ActivateNode(request)
    except httpx.HTTPStatusError as error:
        told = FlowerError.from_json(error.response.text)
        return error.response.status_code if told is None else int(told.code)
    finally:
        client.close()
    return int(httpx.codes.OK)
