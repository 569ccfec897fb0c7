"""Whether a SuperLink answers is asked of real servers on this machine."""

from pathlib import Path

from server.flower.superlink import health_answers, loopback_superlink
from tests.hub_servers import HERE, Authority, closed_port, serving


def test_a_superlink_is_for_this_machine_alone() -> None:
    """Whatever else is asked of it, it listens on the loopback and installs nothing."""
    words = loopback_superlink(8000, "--simulation")
    assert words[words.index("--host") + 1] == HERE
    assert words[words.index("--port") + 1] == "8000"
    assert {"--disable-runtime-dependency-installation", "--simulation"} <= {*words}


def test_a_superlink_is_believed_under_its_own_ca_only(tmp_path: Path) -> None:
    """It answers over TLS with a certificate of the CA, not with another's, and not in the clear."""
    ours, other = Authority(tmp_path), Authority(tmp_path, "other")
    with serving(ours.server()) as address:
        assert health_answers(address, ours.ca_file)
        assert not health_answers(address, other.ca_file)
        assert not health_answers(address, None)


def test_a_simulation_s_superlink_has_no_certificate(tmp_path: Path) -> None:
    """Without a CA it is asked in the clear; a hub, which has one, does not believe such an answer."""
    with serving(None) as address:
        assert health_answers(address, None)
        assert not health_answers(address, Authority(tmp_path).ca_file)


def test_a_superlink_that_is_not_well_does_not_answer() -> None:
    """Another status than 200, or nobody on the port, is no answer and no exception."""
    with serving(None, status=503) as address:
        assert not health_answers(address, None)
    assert not health_answers(closed_port(), None)
