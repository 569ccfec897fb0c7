"""Which site a Flower node answers for, and where its state lies."""

from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, RecordDict

from client.app import site_of
from client.rounds.answer import answer
from shared.config.files import read_yaml, write_yaml
from shared.errors import ConfigError, ErrorCode
from shared.messages.release_kinds import KEPT_SIMULATION, THIS_RUN_ALONE
from shared.messages.releases import LedgerStatement, decode_release


def context(node: dict[str, Any], run: dict[str, Any]) -> Context:
    return Context(run_id=1, node_id=1, node_config=node, state=RecordDict(), run_config=run)


def simulated(federation: Any, output: Path, site_state: str = "") -> Context:
    run = {
        "workspace": str(federation.workspace),
        "output": str(output),
        "site-state": site_state,
        "threads": 1,
    }
    return context({"partition-id": 2, "num-partitions": 3}, run)


def test_a_simulated_site_keeps_its_ledger_in_the_result_folder(tiny_federation: Any, tmp_path: Path) -> None:
    """Without --site-state the state of a simulated site is fresh in each run and marked as that run's alone."""
    site = site_of(simulated(tiny_federation, tmp_path / "run"))
    assert site.config.name == "film"
    assert site.config.state_dir == tmp_path / "run" / "sites" / "film"
    assert site.span == THIS_RUN_ALONE


def test_kept_site_state_adds_up_over_runs_until_the_cap_bites(tiny_federation: Any, tmp_path: Path) -> None:
    """With --site-state a second study's round is refused with budget_spent, and no statement says 'this run'."""
    study = tiny_federation.changed(privacy={"noise_multiplier": 0.65})
    outcomes = []
    for number in range(3):
        site = site_of(simulated(tiny_federation, tmp_path / f"run{number}", str(tmp_path / "kept")))
        payload = tiny_federation.request("train", 1, study=study).replace(
            b"a" * 32, f"{number}".encode() * 32
        )
        parts = answer(site, payload)
        outcomes.append(set(parts))
        if "ledger_statement" in parts:
            statement = decode_release(parts["ledger_statement"]).fields
            assert isinstance(statement, LedgerStatement)
            assert statement.span == KEPT_SIMULATION
        else:
            assert decode_release(parts["error"]).fields.code == ErrorCode.BUDGET_SPENT
    assert outcomes[0] == {"update", "ledger_statement"}
    assert outcomes[-1] == {"error"}


def test_the_hub_cannot_choose_a_real_site_s_files(tiny_federation: Any, tmp_path: Path) -> None:
    """A node with its own site file ignores whatever workspace and output the hub's run configuration names."""
    own = tmp_path / "site.yaml"
    site = tiny_federation.site("film", tmp_path).config
    write_yaml(own, site.model_copy(update={"approved_studies": (tiny_federation.study.digest(),)}))
    run = {"workspace": "/elsewhere", "output": "/elsewhere", "site-state": "/elsewhere", "threads": 1}
    opened = site_of(context({"site-config": str(own), "partition-id": 0}, run))
    assert opened.config.state_dir == site.state_dir
    assert opened.span == "all runs"


def test_a_real_site_may_not_approve_any_study(tiny_federation: Any, tmp_path: Path) -> None:
    """The simulation's blanket approval is refused at a node with a site file of its own."""
    own = tmp_path / "site.yaml"
    own.write_text(
        (tiny_federation.workspace / "sites" / "film.yaml").read_text(encoding="utf-8"), encoding="utf-8"
    )
    assert read_yaml(own)["approved_studies"] == "any-in-simulation"
    with pytest.raises(ConfigError, match="approved_studies is 'any-in-simulation'"):
        site_of(context({"site-config": str(own)}, {}))


def test_more_nodes_than_sites_is_one_sentence(tiny_federation: Any, tmp_path: Path) -> None:
    """A node beyond the workspace's sites is told how many there are."""
    one = simulated(tiny_federation, tmp_path)
    one.node_config["partition-id"] = 7
    with pytest.raises(ConfigError, match="partition-id is 7: the workspace holds 3 sites"):
        site_of(one)
