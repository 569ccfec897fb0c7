"""A real site answers by code that its hospital approves, and by no other; the commands that decide it."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from flwr.supernode.cli.flower_supernode import _try_obtain_trusted_entities, _validate_public_keys_ed25519

from client.rounds.answer import answer
from shared.code_digest import code_digest
from shared.errors import ErrorCode
from shared.messages.releases import ErrorRelease, decode_release
from shared.trust.app_bundle import read_bundle
from shared.trust.bundle_signatures import Signatures, openssh, read_signatures
from tests.probe_app import Hospital, build, new_key, write_app

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def own_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the bundle of the code that runs here."""
    link = tmp_path_factory.mktemp("own") / "app"
    link.symlink_to(REPOSITORY)
    return build(link)


def said(parts: dict[str, bytes]) -> str:
    """Return the name of what was released, or the error's code."""
    if "error" not in parts:
        return next(iter(parts))
    fields = decode_release(parts["error"]).fields
    assert isinstance(fields, ErrorRelease)
    return str(fields.code)


def test_a_site_answers_by_approved_code_only(real: Hospital, tiny_federation: Any, own_bundle: Path) -> None:
    """Never approved: refused; approved: answered; withdrawn: refused in the next request; again: answered."""
    request = tiny_federation.request("enrol", 0)
    real.says("study", "approve", real.folder / "study.yaml")
    assert said(answer(real.site, request)) == ErrorCode.CODE_NOT_APPROVED
    real.says("code", "approve", own_bundle)
    assert said(answer(real.site, request)) == "enrolment"
    real.says("code", "withdraw", read_bundle(own_bundle).sha256)
    assert said(answer(real.site, request)) == ErrorCode.CODE_NOT_APPROVED
    real.says("code", "approve", read_bundle(own_bundle).sha256)
    assert said(answer(real.site, request)) == "enrolment"


def test_a_hub_with_other_code_gets_no_answer(real: Hospital, tiny_federation: Any, own_bundle: Path) -> None:
    """A request that names code which the hospital never approved is refused, though the site's own is approved."""
    real.says("study", "approve", real.folder / "study.yaml")
    real.says("code", "approve", own_bundle)
    request = tiny_federation.request("enrol", 0).replace(code_digest().encode(), b"0" * 64)
    assert said(answer(real.site, request)) == ErrorCode.CODE_NOT_APPROVED


def test_an_altered_record_stops_the_site(real: Hospital, tiny_federation: Any, own_bundle: Path) -> None:
    """With its decisions cut, the site answers every request with one code."""
    real.says("study", "approve", real.folder / "study.yaml")
    real.says("code", "approve", own_bundle)
    (real.folder / "state" / "approvals.jsonl").write_text("")
    assert said(answer(real.site, tiny_federation.request("enrol", 0))) == ErrorCode.APPROVALS_STOPPED
    assert "put back" in real.run("code", "list").stderr


def test_check_tells_what_is_missing(real: Hospital, own_bundle: Path) -> None:
    """`rounds-site check` names the study and the code that are not approved, and neither once they are."""
    files = (real.folder / "site.yaml", real.folder / "study.yaml")
    before = real.run_plain("check", *files)
    assert before.exit_code == 1
    assert (
        "is neither approved by `rounds-site study approve` nor listed in approved_studies" in before.stdout
    )
    assert "0 bundles are approved here" in before.stdout
    real.says("study", "approve", files[1])
    real.says("code", "approve", own_bundle)
    after = real.run_plain("check", *files)
    assert after.exit_code == 0, after.stdout
    assert "code: this program's code" in after.stdout


def test_the_node_trusts_this_hospital_s_key_alone(real: Hospital, tmp_path: Path) -> None:
    """The file is what Flower reads: one Ed25519 key, which signed the approved bundle; never an empty map."""
    bundle = build(write_app(tmp_path / "app", "1.0.0"))
    real.says("code", "approve", bundle)
    trusted = _try_obtain_trusted_entities(real.trusted_file)
    _validate_public_keys_ed25519(trusted)
    sent = Signatures.model_validate_json(real.signatures_file.read_bytes())
    assert list(trusted.values()) == [sent.code_key]
    assert [one.sha256 for one in sent.bundles] == [read_bundle(bundle).sha256]
    real.says("code", "withdraw", read_bundle(bundle).sha256)
    after = yaml.safe_load(real.trusted_file.read_text())
    assert len(after) == 1
    assert after.keys() != trusted.keys()
    assert Signatures.model_validate_json(real.signatures_file.read_bytes()).bundles == ()


def test_the_signatures_file_is_verified_with_the_approval_key(real: Hospital, tmp_path: Path) -> None:
    """What approve writes is what the hub verifies against the key that the hospital was admitted with."""
    public = new_key(real.folder / "keys")
    real.says("code", "approve", build(write_app(tmp_path / "app", "1.0.0")))
    assert read_signatures(real.signatures_file, public).site == "film"
    assert "PRIVATE" not in real.signatures_file.read_text() + real.trusted_file.read_text()
    assert openssh(real.site.approvals().code_key().public_key()) != public


def test_show_lists_files_digest_and_differences(real: Hospital, tmp_path: Path) -> None:
    """Each file with its size, the SHA-256, strange files, and against the bundle approved last what changed."""
    first, second = write_app(tmp_path / "one", "1.0.0"), write_app(tmp_path / "two", "1.0.0", "# a\n# b\n")
    (second / "torch.py").write_text("stolen = 1\n")
    told = real.says("code", "show", build(first))
    assert "compared with the installed program:" in told
    assert "D client/app.py" in told
    assert "decided  nothing yet: refused" in told
    real.says("code", "approve", read_bundle(first.with_suffix(".fab")).sha256)
    told = real.says("code", "show", build(second))
    assert re.search(r"^ +\d+  probe/client.py$", told, re.MULTILINE)
    assert f"sha256   {read_bundle(second.with_suffix('.fab')).sha256}" in told
    assert "LOOK AT  torch.py" in told
    assert "compared with the bundle approved last" in told
    assert "  M probe/client.py  +2 -0" in told
    assert "  A torch.py  +" in told
    assert "# a" not in told
    assert "    +# a" in real.says("code", "show", read_bundle(second.with_suffix(".fab")).sha256, "--diff")


def test_show_prints_no_sign_that_could_hide_another(real: Hospital, tmp_path: Path) -> None:
    """Control signs and signs that turn text around are spelled out, for the bundle may come from an adversary."""
    app = write_app(tmp_path / "app", "1.0.0", "steal()\x1b[2K\r# harmless \u202e\n")
    told = real.says("code", "show", build(app), "--diff")
    assert "steal()\\u001b[2K" in told
    assert "\\u202e" in told
    assert not {"\x1b", "\r", "\u202e"} & set(told)


def test_only_what_was_shown_is_approved_by_digest(real: Hospital, tmp_path: Path) -> None:
    """A digest whose bundle never lay here, or whose copy was altered, is refused with what to do."""
    assert "look at it first" in real.run("code", "approve", "0" * 64).stderr
    bundle = build(write_app(tmp_path / "app", "1.0.0"))
    real.says("code", "show", bundle)
    sha256 = read_bundle(bundle).sha256
    other = build(write_app(tmp_path / "other", "1.0.0", "#"))
    (real.folder / "state" / "bundles" / f"{sha256}.fab").write_bytes(other.read_bytes())
    assert "was altered" in real.run("code", "approve", sha256).stderr
    assert real.run("code", "withdraw", "rounds.fab").exit_code == 1
    assert real.says("code", "list") == ""


def test_a_made_site_decides_nothing(real: Hospital) -> None:
    """The simulation's blanket approval and decisions do not mix: the commands refuse such a site."""
    real.change(approved_studies="any-in-simulation")
    assert "any-in-simulation" in real.run("code", "list").stderr
