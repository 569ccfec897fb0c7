"""Who may send what: by the certificate, never by the message."""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import create_connection

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from server.feed import feed_pb2 as wire
from server.feed import feed_pb2_grpc
from server.feed.connection import Connection
from server.feed.credential import read_credential
from server.feed.messages import to_wire
from server.hub.certificates import Pair, make_authority, make_sender_certificate, read_pair
from server.store.record_kinds import EventBody
from tests.feed_hub import RUN, UID, FeedHub, events

NOW = datetime.now(UTC)
SECONDS = 10


def head(hub: FeedHub, pair: Pair | None) -> grpc.StatusCode | wire.ChainHead:
    """Ask for the head with a key and certificate, or without; returns the reply, or how the call ended."""
    trust = grpc.ssl_channel_credentials(
        hub.hub.ca_file.read_bytes(), *((pair.key_pem(), pair.certificate_pem()) if pair else (None, None))
    )
    with grpc.secure_channel(hub.address, trust) as channel:
        try:
            return feed_pb2_grpc.AuditFeedStub(channel).Head(wire.HeadRequest(), timeout=SECONDS)
        except grpc.RpcError as error:
            return error.code()


def own(hub: FeedHub, run: str = RUN) -> Pair:
    """Return a good key and certificate."""
    held = read_credential(hub.file(run))
    return read_pair(held.key.encode(), held.certificate.encode(), "sender")


def pair_of(key: Path, certificate: Path) -> Pair:
    return read_pair(key.read_bytes(), certificate.read_bytes(), key.name)


def feed_ca(hub: FeedHub) -> Pair:
    return pair_of(hub.senders.ca_key, hub.senders.ca_file)


def test_a_good_certificate_is_let_in(hub: FeedHub) -> None:
    """One of the feed's CA that stands on the list: the others below differ from it in one thing each."""
    assert head(hub, own(hub)) == wire.ChainHead(seq=0, chain="0" * 64)


@pytest.mark.parametrize(
    ("what", "pair"),
    [
        ("no certificate", lambda _: None),
        ("self-signed", lambda _: make_sender_certificate(make_authority("tiny", NOW, what="feed"), RUN, NOW)),
        ("the hub's own", lambda hub: pair_of(hub.hub.key_file, hub.hub.certificate_file)),
        ("of the federation's CA", lambda hub: make_sender_certificate(
            pair_of(hub.hub.ca_key, hub.hub.ca_file), RUN, NOW)),
        ("ended", lambda hub: make_sender_certificate(feed_ca(hub), RUN, NOW - timedelta(days=9), days=8)),
    ],
)  # fmt: skip
def test_tls_refuses_what_is_no_senders(
    hub: FeedHub, capfd: pytest.CaptureFixture[str], what: str, pair: Callable[[FeedHub], Pair | None]
) -> None:
    """The handshake fails, and the hub's log has one line for each connection that says why."""
    shown = pair(hub)
    capfd.readouterr()
    assert head(hub, shown) == grpc.StatusCode.UNAVAILABLE, what
    hub.stop()
    lines = [line for line in capfd.readouterr().err.splitlines() if "Handshake failed" in line]
    assert lines
    assert all(
        "PEER_DID_NOT_RETURN_A_CERTIFICATE" in line or "CERTIFICATE_VERIFY_FAILED" in line for line in lines
    )


@pytest.mark.parametrize("run", ["not-issued", f"{RUN}x"])
def test_a_certificate_that_is_not_on_the_list_is_refused(hub: FeedHub, run: str) -> None:
    """The feed's CA signed it, and still nobody asked for it: a stolen CA key alone lets nobody in."""
    own(hub)
    assert head(hub, make_sender_certificate(feed_ca(hub), run, NOW)) == grpc.StatusCode.UNAUTHENTICATED


def test_a_removed_sender_is_refused_at_once(hub: FeedHub) -> None:
    """Over the connection that is open already, too."""
    with Connection(read_credential(hub.file())) as connection:
        assert connection.head().seq == 0
        hub.senders.remove(RUN)
        with pytest.raises(grpc.RpcError) as refused:
            connection.head()
    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_a_new_certificate_ends_the_old_one(hub: FeedHub) -> None:
    """One certificate is good for a run; the one before it no longer is."""
    before = own(hub)
    hub.senders.issue(RUN, hub.address, hub.hub.ca_file.read_bytes())
    assert head(hub, before) == grpc.StatusCode.UNAUTHENTICATED


def test_a_sender_never_passes_as_the_hub(hub: FeedHub, tmp_path: Path) -> None:
    """What believes the federation's CA, as sites do, refuses a server with a sender's certificate."""
    pair, ca = own(hub), hub.hub.ca_file.read_text()
    (tmp_path / "thief.pem").write_bytes(pair.key_pem() + pair.certificate_pem())
    server_rules = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_rules.load_cert_chain(tmp_path / "thief.pem")
    site_rules = ssl.create_default_context(cadata=ca)
    to_site, to_thief = ssl.MemoryBIO(), ssl.MemoryBIO()
    thief = server_rules.wrap_bio(to_thief, to_site, server_side=True)
    site = site_rules.wrap_bio(to_site, to_thief, server_hostname="127.0.0.1")
    for one in (site, thief):
        with pytest.raises(ssl.SSLWantReadError):
            one.do_handshake()
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
        site.do_handshake()


def test_a_sender_does_not_believe_another_hub(hub: FeedHub) -> None:
    """A credential whose hub CA is not that of who answers sends nothing."""
    other = make_authority("tiny", NOW).certificate_pem()
    held = read_credential(hub.file()).model_copy(update={"hub_ca": other.decode()})
    with Connection(held) as connection:
        connection.ends = -1.0
        with pytest.raises(grpc.RpcError) as refused:
            connection.head()
    assert refused.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_nothing_older_than_tls_1_2_is_spoken(hub: FeedHub, capfd: pytest.CaptureFixture[str]) -> None:
    """With a client that would speak TLS 1.1 the hub does not, and its log says so."""
    rules = ssl.create_default_context(cafile=hub.hub.ca_file)
    rules.set_ciphers("DEFAULT:@SECLEVEL=0")  # so that the client itself would
    rules.minimum_version = rules.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        create_connection(("127.0.0.1", hub.server.port), timeout=SECONDS) as plain,
        pytest.raises(ssl.SSLError, match="EOF"),
    ):
        rules.wrap_socket(plain, server_hostname="127.0.0.1")
    hub.stop()
    assert "UNSUPPORTED_PROTOCOL" in capfd.readouterr().err


def test_the_source_is_the_certificates(hub: FeedHub) -> None:
    """Two runs with the same records are two chains, each under the name of its own certificate."""
    for run in ("north-1", "south-1"):
        outbox = hub.outbox(run)
        outbox.add(run, *events(2))
        with Connection(read_credential(hub.file(run))) as connection:
            connection.append(outbox.after(0, 2))
    assert [len(hub.records(f"study/{run}")) for run in ("north-1", "south-1")] == [2, 2]


def test_another_sources_study_is_refused(hub: FeedHub) -> None:
    """A study belongs to the source that first told of it; who else writes of it leaves an incident."""
    first, thief = hub.outbox("north-1"), hub.outbox("south-1")
    for run, outbox in (("north-1", first), ("south-1", thief)):
        outbox.add(UID, EventBody(event="tried", what=run))
        with Connection(read_credential(hub.file(run))) as connection:
            if outbox is first:
                connection.append(outbox.after(0, 1))
                continue
            with pytest.raises(grpc.RpcError) as refused:
                connection.append(outbox.after(0, 1))
    assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
    assert hub.records("study/south-1") == []
    (told,) = hub.incidents()
    assert told.startswith(f"study/south-1: record 1: is of study {UID}, which study/north-1 has told of;")


def test_ownership_outlives_the_process(hub: FeedHub) -> None:
    """A hub that was started again still knows whose a study is."""
    outbox = hub.outbox("north-1")
    outbox.add(UID, *events(1))
    with Connection(read_credential(hub.file("north-1"))) as connection:
        connection.append(outbox.after(0, 1))
    hub.stop()
    hub.start_again()
    outbox = hub.outbox("south-1")
    outbox.add(UID, *events(1))
    with (
        Connection(read_credential(hub.file("south-1"))) as connection,
        pytest.raises(grpc.RpcError) as refused,
    ):
        connection.append(outbox.after(0, 1))
    assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED


def test_health_is_behind_the_same_tls(hub: FeedHub) -> None:
    """Without a certificate nobody learns whether the hub serves."""
    pair, ca, asked = own(hub), hub.hub.ca_file.read_bytes(), health_pb2.HealthCheckRequest()
    known = grpc.ssl_channel_credentials(ca, pair.key_pem(), pair.certificate_pem())
    with grpc.secure_channel(hub.address, known) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(asked, timeout=SECONDS)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    with (
        grpc.secure_channel(hub.address, grpc.ssl_channel_credentials(ca)) as channel,
        pytest.raises(grpc.RpcError) as refused,
    ):
        health_pb2_grpc.HealthStub(channel).Check(asked, timeout=SECONDS)
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE


def test_a_message_of_8_mb_is_refused(hub: FeedHub) -> None:
    """It is neither read nor stored, and the next call is answered."""
    outbox = hub.outbox()
    outbox.add(UID, EventBody(event="tried", what="x" * 8_000_000))
    held = read_credential(hub.file())
    trust = grpc.ssl_channel_credentials(held.hub_ca.encode(), held.key.encode(), held.certificate.encode())
    with grpc.secure_channel(hub.address, trust, options=[("grpc.max_send_message_length", -1)]) as channel:
        stub = feed_pb2_grpc.AuditFeedStub(channel)
        with pytest.raises(grpc.RpcError) as refused:
            stub.Append(
                wire.AppendRequest(records=[to_wire(one) for one in outbox.after(0, 1)]), timeout=SECONDS
            )
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert stub.Head(wire.HeadRequest(), timeout=SECONDS).seq == 0


def test_a_call_needs_a_deadline(hub: FeedHub) -> None:
    """One without could hold a thread of the hub for ever."""
    pair = own(hub)
    trust = grpc.ssl_channel_credentials(hub.hub.ca_file.read_bytes(), pair.key_pem(), pair.certificate_pem())
    with grpc.secure_channel(hub.address, trust) as channel, pytest.raises(grpc.RpcError) as refused:
        feed_pb2_grpc.AuditFeedStub(channel).Head(wire.HeadRequest())
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
