"""Does the feed serve? Asked by the hub's supervisor, for its health.

In: the hub's folder and where its feed listens. Out: yes or no. The probe's certificate is of the feed's CA and stands
on no list: it learns how the service is and nothing else.
"""

from datetime import UTC, datetime
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from server.feed.sender_certificates import Senders
from server.hub.hub_folder import HubFolder

_SECONDS: Final = 2.0
_DAYS: Final = 2


class FeedProbe:
    """One channel, made anew after a failure."""

    def __init__(self, hub: HubFolder, address: str) -> None:
        self._hub, self._address = hub, address
        self._channel: grpc.Channel | None = None

    def serves(self) -> bool:
        """Ask once, for at most 2 s."""
        if self._channel is None:
            pair = Senders(self._hub.feed).unlisted("probe", datetime.now(UTC), _DAYS)
            trust = grpc.ssl_channel_credentials(
                self._hub.ca_file.read_bytes(), pair.key_pem(), pair.certificate_pem()
            )
            self._channel = grpc.secure_channel(self._address, trust)
        try:
            answer = health_pb2_grpc.HealthStub(self._channel).Check(
                health_pb2.HealthCheckRequest(), timeout=_SECONDS
            )
        except grpc.RpcError:
            self.close()
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def close(self) -> None:
        """End the channel."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
