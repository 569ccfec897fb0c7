"""The coordinator's commands, on a real run of the tiny federation."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from server.app import initial_state
from server.cli.program import app
from server.rounds.round_score import round_score
from server.rounds.study import run_study
from server.runs.run_folder import RunFolder
from shared.config.files import write_yaml
from shared.models.initial import unpack_initial
from shared.models.weights import load_metadata


def rounds_hub(*words: object) -> Result:
    """Run a command; warnings of the command line are this test's errors."""
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def results(tiny_federation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the tiny study and leave its folder as plain `flwr run` does: without a report."""
    folder = tmp_path_factory.mktemp("results")
    run = RunFolder(folder / "flwr-run")
    run.path.mkdir()
    study = tiny_federation.study
    write_yaml(run.study, study)
    compact, _ = unpack_initial(study, initial_state(tiny_federation.workspace, study))
    hospitals = tiny_federation.hospitals(tiny_federation.sites(run.path / "sites"))
    score = round_score(tiny_federation.workspace, study, compact)
    run_study(study, tiny_federation.initial, hospitals, run, score)
    shutil.copytree(tiny_federation.workspace, folder / "workspaces" / "tiny")
    (folder / "latest").symlink_to("flwr-run")
    return folder


@pytest.fixture(scope="module")
def reported(results: Path) -> Path:
    """Return the run's folder after `rounds-hub report` found the workspace by itself."""
    done = rounds_hub("report", results / "flwr-run")
    assert done.exit_code == 0, done.output
    return results / "flwr-run"


@pytest.fixture(scope="module")
def model(reported: Path) -> Path:
    """Return the weights that the report left."""
    return next(path for path in reported.glob("*.safetensors") if path.stem in {"student", "candidate"})


@pytest.fixture(scope="module")
def films(tiny_federation) -> list[Path]:
    """Return two phantom films."""
    return sorted((tiny_federation.workspace / "data" / "film" / "normal").glob("*.png"))[:2]


def test_report_makes_what_a_run_lacks(reported: Path) -> None:
    """After `flwr run`, one command writes summary, report, model card, audit and the student."""
    summary = json.loads((reported / "summary.json").read_text())
    assert summary["status"] == "completed"
    assert summary["verdict"] in {"accepted", "held"}
    for name in ("report.html", "model_card.md", "audit.json"):
        assert (reported / name).stat().st_size > 1000


def test_report_twice_keeps_what_was_said_of_the_data(reported: Path) -> None:
    """A second report says the same of data and time as the first."""
    before = json.loads((reported / "summary.json").read_text())
    before["study"]["notes"] = ["told by a person"]
    (reported / "summary.json").write_text(json.dumps(before))
    assert rounds_hub("report", reported).exit_code == 0
    after = json.loads((reported / "summary.json").read_text())
    assert after["study"] == before["study"]
    assert after["test_auc"] == before["test_auc"]


def test_report_without_a_verdict_is_no_success(results: Path, reported: Path, tmp_path: Path) -> None:
    """Where the audit cannot be made the report is written, the reason is said, and the exit status is 1."""
    workspace = tmp_path / "workspace"
    shutil.copytree(results / "workspaces" / "tiny", workspace)
    shutil.copytree(reported, tmp_path / "run")
    manifest = workspace / "public" / "reference.csv"
    manifest.write_text(manifest.read_text().replace("/masks/", "/lost/"))
    done = rounds_hub("report", tmp_path / "run", "--workspace", workspace)
    assert done.exit_code == 1
    assert "completed, verdict: none mask" in done.stdout
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["verdict"] == "none"


def test_report_refuses_a_foreign_workspace(results: Path, reported: Path, tmp_path: Path) -> None:
    """A workspace with other public sets or weights is not measured against, given or found."""
    other = tmp_path / "results" / "workspaces" / "other"
    shutil.copytree(results / "workspaces" / "tiny", other)
    text = (other / "study.yaml").read_text()
    (other / "study.yaml").write_text(text.replace("initial_sha256: ", "initial_sha256: f", 1)[:-1])
    given = rounds_hub("report", reported, "--workspace", other)
    assert given.exit_code == 1
    assert "--workspace is" in given.stderr
    lonely = tmp_path / "results" / "run"
    lonely.mkdir()
    shutil.copy(reported / "study.yaml", lonely / "study.yaml")
    assert "give it with --workspace" in rounds_hub("report", lonely).stderr
    assert "no study began there" in rounds_hub("report", tmp_path).stderr


def test_runs_lists_every_run_with_its_outcome(results: Path, reported: Path) -> None:
    """A reported run shows verdict, AUC and the largest epsilon; the newest is marked; others say why not."""
    (results / "never-began").mkdir(exist_ok=True)
    (results / "never-began" / "superlink.log").touch()
    summary = json.loads((reported / "summary.json").read_text())
    done = rounds_hub("runs", results)
    lines = {line.split()[0].strip("* ") or line.split()[1]: line for line in done.stdout.splitlines()}
    line = lines["flwr-run"]
    assert line.startswith("* ")
    assert summary["verdict"] in line
    assert f"{max(summary['epsilon'].values()):.2f}" in line
    assert f"{summary['test_auc']['federated_private']['value']:.3f}" in line
    assert "did not begin" in lines["never-began"]
    assert "workspaces" not in done.stdout
    missing = rounds_hub("runs", results / "none")
    assert missing.exit_code == 1
    assert missing.stderr.startswith("Error: RESULTS is")


def test_predict_prints_every_class_and_the_verdict(model: Path, films: list[Path], tmp_path: Path) -> None:
    """The table has a row an image; a held model is called held in the first line and in each row."""
    done = rounds_hub("predict", model, *films, "--maps", tmp_path)
    assert done.exit_code == 0, done.output
    verdict = load_metadata(model)["verdict"]
    assert done.stdout.startswith("HELD") == (verdict == "held")
    assert done.stdout.count("HELD") in ({0} if verdict == "accepted" else {1 + len(films)})
    assert "normal" in done.stdout
    assert "opacity" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"{number:02d}-{film.name}" for number, film in enumerate(films, start=1)
    )


def test_predict_goes_on_after_a_bad_image_and_exits_1(
    model: Path, films: list[Path], tmp_path: Path
) -> None:
    """JSON on standard output stays whole; the bad image has a sentence there and on standard error."""
    Image.new("L", (8, 8)).save(tmp_path / "flat.png")
    done = rounds_hub(
        "predict", model, tmp_path / "flat.png", films[0], "--maps", tmp_path / "maps", "--json"
    )
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    good, bad = told["images"]
    assert sum(good["probabilities"].values()) == pytest.approx(1)
    assert Path(good["map"]).is_file()
    assert "flat.png" in bad["error"]
    assert done.stderr == f"Error: {bad['error']}\n"
    assert told["verdict"] == load_metadata(model)["verdict"]


def test_a_wrong_model_is_one_sentence_without_a_traceback(films: list[Path]) -> None:
    """A file that is no model ends with exit status 1 and one line."""
    done = rounds_hub("predict", films[0], films[0])
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["predict", "report", "runs"])
def test_help_has_examples(command: str) -> None:
    """Every command shows how it is called."""
    done = rounds_hub(command, "--help")
    assert done.exit_code == 0
    assert f"rounds-hub {command}" in done.stdout
