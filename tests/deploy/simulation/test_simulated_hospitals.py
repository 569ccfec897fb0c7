"""Recipes: every study that ships is whole, and a mistake in one is a sentence."""

import csv
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from deploy.simulation.program import chosen
from deploy.simulation.simulated_hospitals import (
    Federation,
    MadeSites,
    PhantomHospital,
    Recipe,
    build_workspace,
    check_can_run,
    find_recipe,
)
from deploy.simulation.terminal_progress import Progress
from deploy.simulation.workspace import prepare
from server.app import made_sites
from server.public_data.preparation import PUBLIC_SETS, public_sets
from server.rounds.feasibility import check_made_sites
from shared.config.files import parse_study, read_site, read_study, read_yaml, write_yaml
from shared.config.site import check_delta, check_sampling
from shared.data.images import check_images
from shared.data.sources import read_source
from shared.errors import ConfigError, DataError
from tests.conftest import SITES
from tests.dicom_files import PLANTED, dicom_file, picture
from tests.phi import contents, where_found

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
STUDIES = sorted((DEPLOY / "studies").glob("*.yaml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_has_its_hospitals(path: Path) -> None:
    """A shipped study parses, has a sites file beside it, and asks nothing its declared sites must refuse."""
    study = read_study(path)
    sites = Federation.model_validate(read_yaml(DEPLOY / "sites" / path.name))
    assert study.name == path.stem
    for declared in sites.declared_patients.values():
        check_delta(sites.cap_delta, declared, "cap_delta")
        check_delta(study.privacy.delta, declared, "privacy.delta")
        check_sampling(study, declared)
    assert study.federation.quorum <= study.federation.min_sites <= len(sites.declared_patients)
    assert sites.cap_epsilon >= study.privacy.epsilon


def test_a_teacher_may_begin_with_published_weights() -> None:
    """`teacher_pretrained` of a sites file reaches the fit of the teacher; without it nothing is fetched."""
    sites = {"title": "t", "declared_patients": {"a": 5}}
    assert Federation.model_validate(sites | {"teacher_pretrained": True}).teacher_fit.pretrained
    assert not Federation.model_validate(sites).teacher_fit.pretrained


def test_no_sites_file_stands_alone() -> None:
    """Every sites file has its study."""
    assert {path.name for path in (DEPLOY / "sites").glob("*.yaml")} == {path.name for path in STUDIES}


def test_the_demo_is_the_default() -> None:
    """Without data the recipe is that of the phantoms."""
    recipe = find_recipe(None, None, None)
    assert (recipe.name, recipe.source, recipe.study.name) == ("phantoms", None, "phantoms")


def test_an_unknown_data_source(tmp_path: Path) -> None:
    """Data without a recipe is one sentence that names the known ones and the way to give one's own."""
    (tmp_path / "scans").mkdir()
    with pytest.raises(ConfigError, match=r"'scans': .*known are .*phantoms.* STUDY=file\.yaml") as refused:
        find_recipe(tmp_path / "scans", None, None)
    assert "\n" not in str(refused.value)


def test_data_that_is_not_there(tmp_path: Path) -> None:
    """A known name at a wrong path is said to be missing."""
    with pytest.raises(ConfigError, match="no such file or folder; check the path"):
        find_recipe(tmp_path / "cxr", None, None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"declared_patients": None}, "declared_patients"),
        ({"cap_epsilon": -1}, "cap_epsilon"),
        ({"made_sites": {"num_sites": 1}}, "num_sites"),
        ({"phantoms": {"a": {"style": "baroque", "train": 5}}}, "style must be one of"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_wrong_sites_file_is_one_sentence(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    """A mistake in the sites file is one ConfigError with file and field."""
    raw = {"title": "t", "declared_patients": {"a": 5}} | change
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(raw))
    with pytest.raises(ConfigError, match=rf"^own\.yaml: .*{words}") as refused:
        find_recipe(None, None, tmp_path / "own.yaml")
    assert "\n" not in str(refused.value)


def public_folder(folder: Path) -> Path:
    """Draw a folder of public images, as class folders: no hospital is named in it."""
    images = folder / "images"
    for label, grey in (("normal", 60), ("opacity", 180)):
        (images / label).mkdir(parents=True)
        for number in range(20):
            noise = np.random.default_rng(number).integers(0, 60, (40, 40), dtype=np.uint8)
            Image.fromarray(noise + np.uint8(grey)).save(images / label / f"{number}.png")
    study = read_yaml(DEPLOY / "studies" / "phantoms.yaml") | {"name": "ours"}
    write_yaml(folder / "ours.yaml", parse_study(study))
    return images


def test_a_hub_of_real_hospitals_prepares_with_public_images_alone(tmp_path: Path) -> None:
    """Data and a study are enough: all patients are public, no hospital is made, named or written."""
    images = public_folder(tmp_path)
    recipe = find_recipe(images, tmp_path / "ours.yaml", None, may_be_public=True)
    notes = build_workspace(recipe, tmp_path / "w", seed=0, progress=lambda *_: None)
    assert notes[0] == "All images are public; no hospital is simulated, the federation's own take part."
    sets = {
        name: read_source(tmp_path / "w" / "public" / f"{name}.csv", recipe.study.task)
        for name in PUBLIC_SETS
    }
    assert all(sets.values())
    assert sum(len(patients) for patients in sets.values()) > 30, "but for those kept as validation"
    assert list((tmp_path / "w" / "sites").iterdir()) == []
    assert not (tmp_path / "w" / "manifests").exists()


def test_public_images_alone_are_no_simulation(tmp_path: Path) -> None:
    """What simulates asks for hospitals, in one sentence; a sites file may say that all is public, or name them."""
    images = public_folder(tmp_path)
    with pytest.raises(ConfigError, match=r"images\.yaml does not exist"):
        find_recipe(images, tmp_path / "ours.yaml", None)
    recipe = find_recipe(images, tmp_path / "ours.yaml", None, may_be_public=True)
    with pytest.raises(ConfigError, match="makes no hospital, so nothing can be simulated"):
        check_can_run(recipe)
    (tmp_path / "sites.yaml").write_text("title: ours\npublic_only: true\nlabel_map: {opacity: opacity}\n")
    assert find_recipe(images, tmp_path / "ours.yaml", tmp_path / "sites.yaml").federation.public_only
    (tmp_path / "sites.yaml").write_text("title: ours\npublic_only: true\ndeclared_patients: {north: 5}\n")
    with pytest.raises(ConfigError, match="unless public_only is true, and then none"):
        find_recipe(images, tmp_path / "ours.yaml", tmp_path / "sites.yaml")


def test_a_wrong_study_is_one_sentence(tmp_path: Path) -> None:
    """A mistake in the study file is one ConfigError with file and field."""
    raw = read_yaml(DEPLOY / "studies" / "phantoms.yaml")
    raw["privacy"]["epsilon"] = 0
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(raw))
    with pytest.raises(ConfigError, match=r"^own\.yaml: line \d+: privacy\.epsilon is 0: "):
        find_recipe(None, tmp_path / "own.yaml", None)


def test_the_workspace_divides_patients(tiny_federation) -> None:
    """No patient stands in two places, and each site's file is one that the site itself can read."""
    study, workspace = tiny_federation.study, tiny_federation.workspace
    sets = [patient.patient_id for patients in public_sets(workspace, study).values() for patient in patients]
    assert all((workspace / "public" / f"{name}.csv").is_file() for name in PUBLIC_SETS)
    for path in sorted((workspace / "sites").glob("*.yaml")):
        site = read_site(path)
        assert site.name == path.stem
        assert site.declared_patients == 4
        sets += [patient.patient_id for patient in read_source(site.data.source, study.task)]
    assert len(sets) == len(set(sets)) == 24 + 3 * (4 + 2 + 4)


def test_nobody_is_counted_for_a_hospital(tiny_federation, tmp_path: Path) -> None:
    """A site without a typed number of patients is refused: the number is never taken from the data."""
    federation = Federation(title="t", public_site="public", declared_patients={"bedside": 4, "film": 4})
    recipe = Recipe(
        "t", tiny_federation.study, federation, tiny_federation.workspace / "data" / "manifest.csv"
    )
    with pytest.raises(ConfigError, match="no number for site children; type one"):
        build_workspace(recipe, tmp_path, seed=0, progress=lambda *_: None)


@pytest.mark.parametrize(
    ("name", "column", "spoil", "words"),
    [
        (
            "reference",
            "mask",
            lambda path: path.unlink(),
            "mask_missing 1: the mask does not exist; restore it",
        ),
        (
            "reference",
            "mask",
            lambda path: Image.new("L", (8, 8)).save(path),
            "mask_size 1: the mask has another size than its image; redraw it",
        ),
        ("reference", "file", lambda path: path.write_bytes(b"\x89PNG"), "image_unreadable 1: "),
        ("test", "file", lambda path: path.write_bytes(b"\x89PNG"), "image_unreadable 1: "),
        ("cohort", "file", lambda path: path.unlink(), "image_missing 1: "),
    ],
)
def test_a_spoilt_public_image_stops_before_a_teacher_is_fitted(
    tiny_federation: Any, tmp_path: Path, name: str, column: str, spoil: Callable[[Path], Any], words: str
) -> None:
    """An image or mask that would end the audit after all rounds is one sentence, and no public set is written."""
    study, data = tiny_federation.study, tmp_path / "data"
    shutil.copytree(tiny_federation.workspace / "data", data)
    record = public_sets(tiny_federation.workspace, study)[name][0].images[0]
    spoil(data / getattr(record, column).relative_to(tiny_federation.workspace / "data"))
    federation = Federation(title="t", public_site="public", declared_patients=dict.fromkeys(SITES, 4))
    recipe = Recipe("t", study, federation, data / "manifest.csv")
    with pytest.raises(
        DataError, match=rf"^public {name} set, \d+ images: {words}.*first: .*png\)$"
    ) as refused:
        build_workspace(recipe, tmp_path / "w", seed=0, progress=lambda *_: None)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("name", ["St. Mary", "../north", "a" * 41, "Köln"])
@pytest.mark.parametrize("place", ["the data", "declared_patients of the sites file"])
def test_a_site_name_that_no_site_may_have(tiny_federation, tmp_path: Path, name: str, place: str) -> None:
    """A name outside the pattern is one sentence with field, value, allowed and remedy; nothing is written."""
    with (tiny_federation.workspace / "data" / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    manifest, declared = tmp_path / "own.csv", dict.fromkeys(("bedside", "children", "film"), 4)
    if place == "the data":
        rows = [row | {"site": name} if row["site"] == "film" else row for row in rows]
    else:
        declared[name] = 4
    with manifest.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    recipe = Recipe(
        "own",
        tiny_federation.study,
        Federation(title="t", public_site="public", declared_patients=declared),
        manifest,
    )
    with pytest.raises(ConfigError, match=rf"^site is .*, allowed are .*; rename it in {place}") as refused:
        build_workspace(recipe, tmp_path / "workspace", seed=0, progress=lambda *_: None)
    assert repr(name) in str(refused.value)
    assert not (tmp_path / "workspace").exists()


def test_reports_are_told_how_sites_were_made(tmp_path: Path) -> None:
    """Any source that is dealt to made sites says by which seed and skew, and what share the audit keeps."""
    random = np.random.default_rng(0)
    for number in range(40):
        for label in ("normal", "opacity"):
            file = tmp_path / "scans" / label / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (8, 8), dtype=np.uint8)).save(file)
    federation = Federation(
        title="t",
        made_sites=MadeSites(num_sites=2, seed=7, skew=0.25),
        reference_fraction=0.2,
        declared_patients={"site-1": 30, "site-2": 30},
        notes=("typed",),
    )
    study = parse_study(read_yaml(DEPLOY / "studies" / "phantoms.yaml"))
    notes = build_workspace(
        Recipe("t", study, federation, tmp_path / "scans"), tmp_path / "w", seed=3, progress=lambda *_: None
    )
    assert (
        "The 2 sites are made, not found: patients are dealt to them by seed 7 with label skew 0.25." in notes
    )
    assert "About 20% of the test patients are kept for the audit; figures come from the others." in notes
    assert "typed" in notes
    assert not any("phantoms" in note for note in notes)


def test_reports_are_told_which_seed_made_the_phantoms(tmp_path: Path) -> None:
    """Phantoms state their own seed, and no made sites where each hospital is drawn."""
    federation = Federation(
        title="t",
        phantoms={"a": PhantomHospital(style="film", train=4, test=2)},
        declared_patients={"a": 100},
    )
    study = parse_study(read_yaml(DEPLOY / "studies" / "phantoms.yaml"))
    notes = build_workspace(Recipe("t", study, federation, None), tmp_path, seed=3, progress=lambda *_: None)
    assert notes[0] == "Images are procedural phantoms, made by seed 3; nothing here is a clinical result."
    assert not any("dealt" in note for note in notes)


def test_a_run_is_refused_by_its_test_patients_before_anything_is_fitted(tmp_path: Path) -> None:
    """Test patients of one class end a demo before public sets are written; a workspace alone is prepared."""
    federation = Federation(
        title="t",
        phantoms={"a": PhantomHospital(style="film", train=4, test=4, prevalence=1.0)},
        declared_patients={"a": 100},
    )
    recipe = Recipe("t", parse_study(read_yaml(DEPLOY / "studies" / "phantoms.yaml")), federation, None)
    with pytest.raises(DataError, match="only patients with opacity, so there is no AUC"):
        build_workspace(recipe, tmp_path / "run", seed=0, progress=lambda *_: None, to_run=True)
    assert not (tmp_path / "run" / "public").exists()
    build_workspace(recipe, tmp_path / "prepared", seed=0, progress=lambda *_: None)
    assert (tmp_path / "prepared" / "public" / "test.csv").is_file()


@pytest.mark.parametrize("setting", ["privacy.epsilon", "privacy.epsilon=", "=4"])
def test_a_setting_without_field_or_value_is_refused(setting: str) -> None:
    """--set takes field=value only; anything less is one sentence, and not ignored."""
    with pytest.raises(ConfigError, match=f"--set is '{setting}', allowed is field=value"):
        chosen(None, None, None, [setting])
    assert chosen(None, None, None, ["privacy.epsilon=4"]).study.privacy.epsilon == 4


def test_results_may_be_a_link_to_another_disk(tmp_path: Path, monkeypatch: Any) -> None:
    """A workspace is prepared where `results` leads, also outside the folder that a person stands in."""
    (tmp_path / "here").mkdir()
    (tmp_path / "disk").mkdir()
    (tmp_path / "here" / "results").symlink_to(tmp_path / "disk")
    monkeypatch.chdir(tmp_path / "here")

    class Reached(Exception):  # noqa: N818 - no error: how far the command came
        pass

    def stop(*_: object, **__: object) -> None:
        raise Reached

    monkeypatch.setattr("deploy.simulation.workspace.build_workspace", stop)
    with pytest.raises(Reached):
        prepare(find_recipe(None, None, None), 0, Progress())


@pytest.mark.parametrize(
    ("privacy", "cap_delta", "words"),
    [
        ({"delta": 1e-3}, 1e-5, r"site b .*privacy\.delta is 0\.001, allowed is at most 0\.0005 .*lower it"),
        (
            {"sample_rate": 0.005},
            1e-5,
            r"site b .*privacy\.sample_rate is 0\.005: with 200 .*raise it to 0\.01",
        ),
        ({}, 1e-3, r"site b: cap_delta is 0\.001, allowed is at most 0\.0005"),
    ],
)
def test_what_a_site_would_refuse_stops_before_anything_is_made(
    tmp_path: Path, privacy: dict[str, Any], cap_delta: float, words: str
) -> None:
    """A delta or sample rate that a declared site would refuse is one sentence, before phantoms are drawn."""
    raw = read_yaml(DEPLOY / "studies" / "phantoms.yaml")
    raw["privacy"] |= privacy
    federation = Federation(
        title="t",
        phantoms={"a": PhantomHospital(style="film", train=4), "b": PhantomHospital(style="film", train=4)},
        declared_patients={"b": 200},
        cap_delta=cap_delta,
    )
    recipe = Recipe("t", parse_study(raw), federation, None)
    with pytest.raises(ConfigError, match=words):
        build_workspace(recipe, tmp_path / "w", seed=0, progress=lambda *_: None)
    assert not (tmp_path / "w").exists()


def test_a_kept_workspace_takes_no_study_its_sites_would_refuse(tmp_path: Path, monkeypatch: Any) -> None:
    """A workspace is kept whatever the privacy settings, so they are checked again before it is used."""
    monkeypatch.chdir(tmp_path)
    recipe = find_recipe(None, None, None)
    privacy = recipe.study.privacy.model_copy(update={"delta": 1e-3})
    study = recipe.study.model_copy(update={"privacy": privacy})
    with pytest.raises(ConfigError, match=r"would refuse the study: privacy\.delta is 0\.001"):
        prepare(replace(recipe, study=study), 0, Progress())
    assert list(tmp_path.iterdir()) == []


def test_a_run_takes_no_study_its_made_sites_would_refuse(tiny_federation: Any) -> None:
    """What `flwr run` overrides is checked too, before a site is asked."""
    sites = made_sites(tiny_federation.workspace)
    check_made_sites(tiny_federation.study, sites)
    with pytest.raises(
        ConfigError, match=r"site bedside would refuse the study: privacy\.sample_rate is 0\.1"
    ):
        check_made_sites(tiny_federation.changed(privacy={"sample_rate": 0.1}), sites)
    without = tiny_federation.changed(privacy={"sample_rate": 0.1, "enabled": False})
    check_made_sites(without, [replace(site, without_privacy=True) for site in sites])


def test_dicom_files_become_hospitals_without_their_identifiers(tmp_path: Path) -> None:
    """Simulated sites of a DICOM folder list files and labels; a PatientID is nowhere, the text rule is kept."""
    for number in range(60):
        tags = {"PatientID": f"PLANTED-{number}", "BurnedInAnnotation": "YES"}
        tags |= {} if number % 2 else {"StudyDescription": "clear"}
        dicom_file(tmp_path / "films" / f"{number}.dcm", picture(number, top=255).astype(np.uint8), **tags)
    rules = {"label_tag": "StudyDescription", "label_rules": {"*pneumonia*": "opacity", "clear": "normal"}}
    rules["text"] = "allow"
    raw = {
        "title": "t", "dicom": rules, "declared_patients": {"site-1": 20, "site-2": 20},
        "made_sites": {"num_sites": 2, "skew": 0},
    }  # fmt: skip
    study = read_study(DEPLOY / "studies" / "phantoms.yaml")
    recipe = Recipe("films", study, Federation.model_validate(raw), tmp_path / "films")
    notes = build_workspace(recipe, tmp_path / "w", seed=0, progress=lambda *_: None)
    assert any("let through by the site's own rule" in note for note in notes)
    site = read_site(tmp_path / "w" / "sites" / "site-1.yaml")
    patients = read_source(site.data.source, study.task, site="site-1")
    assert check_images(patients, study.task).kinds == {}
    assert where_found([*PLANTED, "PLANTED-"], dict(contents([tmp_path / "w"]))) == []
