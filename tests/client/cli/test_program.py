"""The hospital's commands, on real tiny sites."""

import json
import re
import sqlite3
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from client.cli.program import app
from client.rounds.answer import answer
from client.site.site import Site
from shared.config.files import write_yaml
from shared.config.study import StudyConfig
from shared.data.image_problems import advice
from shared.distillation.targets import read_views
from tests.hub_servers import Authority, closed_port, serving


def rounds_site(*words: object) -> Result:
    """Run a command."""
    return CliRunner().invoke(app, [str(word) for word in words])


class Hospital:
    """One tiny hospital with its two files, as a person at the hospital has them."""

    def __init__(self, federation: Any, folder: Path) -> None:
        self.federation = federation
        self.folder = folder
        self.study_file = folder / "study.yaml"
        self.site_file = folder / "site.yaml"
        self.write()

    def write(self, study: StudyConfig | None = None, **changed: Any) -> Site:
        """Write both files, with some fields of site.yaml changed."""
        write_yaml(self.study_file, study or self.federation.study)
        site: Site = self.federation.site("film", self.folder / "state", **changed)
        write_yaml(self.site_file, site.config)
        return site

    def check(self) -> tuple[int, dict[str, list[str]]]:
        """Run `check`; returns the exit status and lines by mark."""
        done = rounds_site("check", self.site_file, self.study_file)
        lines: dict[str, list[str]] = {"ok": [], "warn": [], "fail": []}
        for line in done.stdout.splitlines()[:-1]:
            mark, _, rest = line.strip().partition("  ")
            lines[mark].append(rest)
        return done.exit_code, lines


@pytest.fixture
def hospital(tiny_federation, tmp_path: Path) -> Hospital:
    """Return a hospital that is ready."""
    return Hospital(tiny_federation, tmp_path)


def test_ready_hospital_passes_and_nothing_is_written(hospital: Hospital) -> None:
    """Exit status 0, counts by class and patient, budget and cache forecast; no state comes to be."""
    status, lines = hospital.check()
    assert status == 0
    assert lines["fail"] == []
    told = "\n".join(lines["ok"])
    assert re.search(r"data: 6 patients \(4 train, 2 evaluation, 0 audit\), \d+ images", told)
    assert "class opacity: 3 patients" in told
    assert "declared: 4 declared, 4 train" in told
    assert "teacher targets will take" in told
    assert "none yet" in told
    assert re.search(r"budget: epsilon 0.00 spent, \d", told)
    assert "label map: complete: 2 labels, 0 images left out" in told
    assert re.search(r"masks: \d+ of \d+ images name a region mask", told)
    assert re.search(r"memory: a round takes about \d\.\d GB", told)
    assert not (hospital.folder / "state").exists()


def test_json_says_what_the_lines_say(hospital: Hospital) -> None:
    """One object with the same findings, counts and exit status, and nothing else on standard output."""
    for changed, ready in (({}, True), ({"accepted_digests": {}}, False)):
        hospital.write(**changed)
        done = rounds_site("check", hospital.site_file, hospital.study_file, "--json")
        found = json.loads(done.stdout)
        status, lines = hospital.check()
        assert (done.exit_code, found["ready"]) == (status, ready)
        assert (found["site"], found["study"]) == ("film", "tiny")
        for mark in ("ok", "warn", "fail"):
            told = [f"{one['what']}: {one['sentence']}" for one in found["findings"] if one["mark"] == mark]
            steady = [line for line in told if not line.startswith(("memory", "target cache"))]
            assert steady == [line for line in lines[mark] if not line.startswith(("memory", "target cache"))]
        assert (found["fail"], found["warn"]) == (len(lines["fail"]), len(lines["warn"]))


def test_the_hub_is_asked_only_when_it_is_known(hospital: Hospital, tmp_path: Path) -> None:
    """Named in site.yaml or by --hub and --hub-ca its lines follow, not with --offline; a closed port fails."""
    assert not [line for line in chain(*hospital.check()[1].values()) if line.startswith(("proxy", "key"))]
    federation = Authority(tmp_path)
    files = (hospital.site_file, hospital.study_file)
    with serving(federation.server()) as address:
        done = rounds_site("check", *files, "--hub", address, "--hub-ca", federation.ca_file)
    assert done.exit_code == 0
    assert "  ok  TLS: " in done.stdout
    assert "warn  key: keys_dir is not given: there is no key to ask with" in done.stdout
    done = rounds_site("check", *files, "--hub", closed_port(), "--hub-ca", federation.ca_file)
    assert done.exit_code == 1
    assert "fail  connection: " in done.stdout
    hospital.write(
        hospital.federation.study, hub={"address": closed_port(), "ca_file": str(federation.ca_file)}
    )
    assert "fail  connection: " in rounds_site("check", *files).stdout
    assert "connection: " not in rounds_site("check", *files, "--offline").stdout
    assert "--hub-ca is missing" in rounds_site("check", *files, "--hub", "hub:1").stderr


def test_every_label_that_nobody_mapped_is_named_at_once(hospital: Hospital, tmp_path: Path) -> None:
    """Unknown labels fail with their counts in one line; a mapped label that does not occur is a warning."""
    rows = (hospital.federation.workspace / "manifests" / "film.csv").read_text()
    manifest = tmp_path / "labels.csv"
    manifest.write_text(rows.replace(",normal,", ",NORM,").replace(",opacity,", ",OPAC,"))
    hospital.write(data={"source": str(manifest)})
    status, lines = hospital.check()
    assert status == 1
    assert re.search(r"label map: 'NORM' \(\d+\), 'OPAC' \(\d+\): no class of the study", lines["fail"][0])
    mapped = {"NORM": "normal", "OPAC": "opacity", "OTHER": ""}
    hospital.write(data={"source": str(manifest), "label_map": mapped})
    status, lines = hospital.check()
    assert status == 0
    assert any("names 'OTHER', which the data does not hold" in line for line in lines["warn"])
    mapped = {"NORM": "normal", "OPAC": ""}
    hospital.write(data={"source": str(manifest), "label_map": mapped})
    assert any(
        re.search(r"complete: 2 labels, [1-9]\d* images left out", line) for line in hospital.check()[1]["ok"]
    )


def test_every_line_that_is_not_ok_says_what_to_do(hospital: Hospital) -> None:
    """Each warning and failure of a site with many mistakes asks the person to do something."""
    study = hospital.federation.changed(privacy={"enabled": False})
    hospital.write(
        study,
        allow_without_privacy=True,
        declared_patients=100,
        allow_releases=["error"],
        approved_studies=["0" * 64],
        compute={"device": "cuda:9", "threads": 99},
    )
    found = hospital.check()[1]
    lines = [*found["warn"], *found["fail"]]
    do = r"\b(add|approve|ask|correct|declare|lower|read|repair|set|unless|list|lists|make)\b"
    assert len(lines) > 8
    assert not [line for line in lines if not re.search(do, line)]


def test_check_agrees_with_enrolment(hospital: Hospital, tiny_federation) -> None:
    """Where check says ready the site enrols; where it says fail the site answers with an error."""
    site = hospital.write()
    assert hospital.check()[0] == 0
    assert "enrolment" in answer(site, tiny_federation.request("enrol", 0))
    for changed in (
        {"accepted_digests": {}},
        {"approved_studies": ["0" * 64]},
        {"allow_releases": ["error"]},
    ):
        site = hospital.write(**changed)
        assert hospital.check()[0] == 1, changed
        assert "enrolment" not in answer(site, tiny_federation.request("enrol", 0)), changed


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"accepted_digests": {}}, "accepted_digests"),
        ({"approved_studies": ["0" * 64]}, "approved_studies"),
        ({"allow_releases": ["enrolment", "error"]}, "update"),
        ({"declared_patients": 1}, "sample_rate"),
        ({"cap": {"epsilon": 0.01, "delta": 1e-5}}, "this site does not enrol"),
    ],
)
def test_each_obstacle_has_its_own_line(hospital: Hospital, changed: dict[str, Any], what: str) -> None:
    """A rule that would stop the site fails the check and names its field."""
    hospital.write(**changed)
    status, lines = hospital.check()
    assert status == 1
    assert any(what in line for line in lines["fail"]), lines


def test_a_budget_that_pays_for_some_rounds_only_fails(hospital: Hospital) -> None:
    """A cap between the spend of one round and of two stops the site before it spends anything for nothing."""
    hospital.write(cap={"epsilon": 1000.0, "delta": 1e-5})
    line = next(line for line in hospital.check()[1]["ok"] if line.startswith("budget"))
    both = float(re.search(r"spent, ([\d.]+) after", line)[1])
    hospital.write(cap={"epsilon": both - 0.02, "delta": 1e-5})
    status, lines = hospital.check()
    assert status == 1
    (failed,) = lines["fail"]
    assert failed.startswith("budget: epsilon 0.00 spent, the whole study would bring it to")


def test_weights_that_are_not_listed_are_no_spent_budget(hospital: Hospital) -> None:
    """Where a digest is missing in accepted_digests the line says so, and no epsilon is made up."""
    hospital.write(accepted_digests={})
    (line,) = [one for one in hospital.check()[1]["fail"] if one.startswith("budget")]
    assert "are not listed in accepted_digests" in line
    assert "inf" not in line


def test_bad_images_are_counted_by_kind(hospital: Hospital, tmp_path: Path) -> None:
    """An unreadable image fails past max_unreadable and warns below it; nobody is named."""
    manifest = tmp_path / "bad.csv"
    rows = (hospital.federation.workspace / "manifests" / "film.csv").read_text().splitlines()
    broken = tmp_path / "broken.png"
    broken.write_text("no picture")
    cells = rows[1].split(",")
    manifest.write_text(
        "\n".join([rows[0], ",".join([str(broken), *cells[1:5], "", *cells[6:]]), *rows[2:]]) + "\n"
    )
    hospital.write(data={"source": str(manifest), "max_unreadable": 0.02})
    status, lines = hospital.check()
    assert status == 1
    (line,) = lines["fail"]
    assert "image_unreadable 1" in line
    assert cells[3] not in line
    hospital.write(data={"source": str(manifest), "max_unreadable": 0.9})
    status, lines = hospital.check()
    assert status == 0
    assert any("image_unreadable 1" in line for line in lines["warn"])


def test_bad_records_are_counted_by_kind_and_listed(hospital: Hospital, tmp_path: Path) -> None:
    """Wrong lines fail past max_unreadable and warn below it, each kind with its remedy; nobody is named."""
    manifest = tmp_path / "bad.csv"
    good = (hospital.federation.workspace / "manifests" / "film.csv").read_bytes()
    wrong = good.splitlines()[1].split(b",")
    wrong[3], wrong[4] = b"Plantedname", b"Train"
    manifest.write_bytes(good + b",".join(wrong) + b'\n"open\n')
    kinds = ("record_split", "record_quotes")
    for most, status, mark in ((0.02, 1, "fail"), (0.9, 0, "warn")):
        hospital.write(data={"source": str(manifest), "max_unreadable": most})
        found, lines = hospital.check()
        assert found == status
        assert any("record_quotes 1, record_split 1: " in line for line in lines[mark])
        assert all(f"images: {advice(kind, 1)}" in lines["warn"] for kind in kinds)
        assert not [line for some in lines.values() for line in some if "Plantedname" in line]
    listed = CliRunner().invoke(
        app, ["refused", *(str(hospital.folder / f"{name}.yaml") for name in ("site", "study"))]
    )
    assert sorted(line.split("\t")[0] for line in listed.stdout.splitlines()) == sorted(kinds)


def test_bad_masks_are_said_to_change_no_training(
    hospital: Hospital, tiny_federation: Any, tmp_path: Path
) -> None:
    """A missing mask is a warning that says what masks are for, and its patient trains and evaluates as before."""
    manifest = tmp_path / "bad.csv"
    rows = (hospital.federation.workspace / "manifests" / "film.csv").read_text().splitlines()
    header, cells = rows[0].split(","), rows[1].split(",")
    cells[header.index("mask")] = str(tmp_path / "gone.png")
    manifest.write_text("\n".join([rows[0], ",".join(cells), *rows[2:]]) + "\n")
    site = hospital.write(data={"source": str(manifest), "max_unreadable": 0})
    status, lines = hospital.check()
    assert status == 0
    (line,) = [line for line in lines["warn"] if line.startswith("images: mask_missing 1: masks")]
    assert "masks take no part in training" in line
    assert "contributes nothing" not in line
    study = tiny_federation.study
    assert all(
        torch.isfinite(read_views(patient, study).images((0,))).all()
        for part in site.partitions(study).values()
        for patient in part
    )


def test_declared_number_far_from_the_real_one_is_a_warning(hospital: Hospital) -> None:
    """Twice too many declared: the site would count for more than it has."""
    hospital.write(declared_patients=100)
    status, lines = hospital.check()
    assert status == 0
    assert any("100 declared, 4 train" in line for line in lines["warn"])


def test_study_without_privacy_needs_the_hospital(hospital: Hospital) -> None:
    """Refused by default; where allowed, a warning says that no guarantee holds."""
    study = hospital.federation.changed(privacy={"enabled": False})
    hospital.write(study)
    assert hospital.check()[0] == 1
    hospital.write(study, allow_without_privacy=True)
    status, lines = hospital.check()
    assert status == 0
    assert any("no guarantee" in line for line in lines["warn"])


def test_private_weights_count_in_the_budget_before_they_are_charged(hospital: Hospital) -> None:
    """Two files accepted as private-dp bring their epsilons to the spend that the budget begins with."""
    models = hospital.federation.study.models
    digests = (models.initial_sha256, models.teacher.sha256)
    spent = dict.fromkeys(digests, (0.5, 1e-7))
    hospital.write(
        accepted_digests=dict.fromkeys(digests, "private-dp"),
        private_dp_spend=spent,
        cap={"epsilon": 99.0, "delta": 1e-5},
    )
    status, lines = hospital.check()
    assert status == 0
    assert any(line.startswith("budget: epsilon 1.00 spent") for line in lines["ok"])
    site = hospital.federation.site(
        "film", hospital.folder / "state", accepted_digests=dict.fromkeys(digests, "private-dp"),
        private_dp_spend=spent, cap={"epsilon": 99.0, "delta": 1e-5},
    )  # fmt: skip
    with site.ledger() as ledger:
        ledger.record_declared(digests[0], *spent[digests[0]])
    assert any(line.startswith("budget: epsilon 1.00 spent") for line in hospital.check()[1]["ok"])


def test_unlisted_weights_are_a_warning_about_the_budget(hospital: Hospital) -> None:
    """Where only allow_without_privacy lets the weights in, the check says that no epsilon can be claimed."""
    hospital.write(accepted_digests={}, allow_without_privacy=True)
    status, lines = hospital.check()
    assert status == 0
    assert any(line.startswith("budget: after this study no epsilon") for line in lines["warn"])


@pytest.fixture
def trained(hospital: Hospital, tiny_federation) -> Hospital:
    """Return a hospital that has answered one round."""
    assert "update" in answer(hospital.write(), tiny_federation.request("train", 1))
    return hospital


def test_ledger_show_lists_rows_spend_cap_and_head(trained: Hospital) -> None:
    """The spend shown is the one that the site stated to the hub, to four digits."""
    done = rounds_site("ledger", "show", trained.site_file)
    assert done.exit_code == 0
    assert "poisson_gaussian noise_multiplier 1.0, sample_rate 0.5, steps 2" in done.stdout
    site = trained.write()
    with site.ledger() as ledger:
        stated = ledger.statement(site.config.cap.delta, site="film", span="all runs")
    assert f"train patients: epsilon {stated.epsilon:.4g} at delta 1e-05" in done.stdout
    assert "cap: epsilon 10 at delta 1e-05; span: all runs" in done.stdout
    assert f"head: 2:{stated.head_hash}" in done.stdout


def test_ledger_of_a_simulation_is_found_by_site_state(trained: Hospital) -> None:
    """--site-state takes the folder of all simulated sites, and the span is this run's."""
    trained.federation.site("film", trained.folder / "elsewhere")
    trained.write(state_dir=str(trained.folder / "nowhere"))
    done = rounds_site("ledger", "show", trained.site_file, "--site-state", trained.folder / "state")
    assert "span: this run alone (simulation)" in done.stdout
    missing = rounds_site("ledger", "show", trained.site_file)
    assert missing.exit_code == 1
    assert "there is none" in missing.stderr
    assert not (trained.folder / "nowhere").exists()


def test_ledger_verify_finds_a_deleted_row(trained: Hospital) -> None:
    """Whole: exit 0 and the rows; a row deleted behind the triggers: one sentence and exit 1."""
    done = rounds_site("ledger", "verify", trained.site_file)
    assert (done.exit_code, done.stdout) == (0, "film: 2 rows, whole, and equal to the head file\n")
    with sqlite3.connect(trained.folder / "state" / "film" / "ledger.sqlite") as database:
        database.execute("DROP TRIGGER no_DELETE_rows")
        database.execute("DELETE FROM rows WHERE seq = 1")
    database.close()
    done = rounds_site("ledger", "verify", trained.site_file)
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: ledger ")
    assert done.stderr.count("\n") == 1
    assert trained.check()[0] == 1


def test_ledger_verify_knows_a_remembered_head(trained: Hospital) -> None:
    """The head of a report passes, another one stops, and a malformed one says how it looks."""
    head = re.search(r"head: (\S+)", rounds_site("ledger", "show", trained.site_file).stdout)[1]
    assert rounds_site("ledger", "verify", trained.site_file, "--head", head).exit_code == 0
    assert rounds_site("ledger", "verify", trained.site_file, "--head", "2:" + "0" * 64).exit_code == 1
    assert "allowed is ROW:HASH" in rounds_site("ledger", "verify", trained.site_file, "--head", "x").stderr


def test_wrong_site_file_is_one_sentence(tmp_path: Path) -> None:
    """A field that does not exist, or a missing file, is named without a traceback."""
    (tmp_path / "site.yaml").write_text("name: film\ncolour: blue\n")
    for file in ("site.yaml", "none.yaml"):
        done = rounds_site("check", tmp_path / file, tmp_path / file)
        assert done.exit_code == 1
        assert done.stderr.startswith("Error: ")
        assert done.stderr.count("\n") == 1
