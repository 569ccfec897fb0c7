"""A round's patients: their own views, their own targets, their own coins; and the update made of them."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from client.dp_sgd.private_steps import clipped_sum_for_step
from client.rounds.local_training import SitePatients, fill_target_cache, private_update
from client.site.target_table import purge_targets
from client.site.withdrawn_patients import forgotten_name
from shared.data.patients import Patient
from shared.data.sources import read_source
from shared.data.tables.manifest import write_manifest
from shared.distillation.objective import Targets, site_terms, view_losses
from shared.distillation.targets import read_views
from shared.errors import DataError
from shared.privacy.noise import Coins
from shared.privacy.step_plan import step_plan
from tests.conftest import make_tiny_federation
from tests.readout_study import readout_miniature

COINS = Coins(b"c" * 32)


def source(site, study, cache, patients: list[Patient] | None = None) -> SitePatients:
    """Return a site's training patients as private steps take them."""
    patients = site.partitions(study)["train"] if patients is None else patients
    return SitePatients(patients, study, *site.compact(study), cache, COINS)


@pytest.fixture
def site(tiny_federation, tmp_path: Path):
    """Open one hospital."""
    return tiny_federation.site("film", tmp_path)


@pytest.mark.parametrize(
    ("method", "fields"), [("rounds", 5), ("medtex", 5), ("hybrid", 3), ("supervised", 3)]
)
def test_every_patient_has_the_form_of_the_template(tiny_federation, site, method: str, fields: int) -> None:
    """Names, shapes and types of the made-up patient and of real ones agree, for every method."""
    rules = {"num_views": 3, "views_per_step": 2, "method": method}
    study = tiny_federation.changed(distillation=rules)
    # the initial weights hold an explainer; methods without one have their own warm start
    given = tiny_federation.study if method in {"rounds", "medtex"} else None
    with site.target_cache(study) as cache:
        compact, adapters = site.compact(given or tiny_federation.study)
        patients = SitePatients(site.partitions(study)["train"], study, compact, adapters, cache, COINS)
        template = patients.template
        assert len(template) == fields
        for index in range(4):
            loaded = patients.load(index, 0)
            assert {n: (t.shape, t.dtype) for n, t in loaded.items()} == {
                n: (t.shape, t.dtype) for n, t in template.items()
            }


def test_nobody_sees_who_else_is_there(tiny_federation, site) -> None:
    """Removing a patient changes no bit of what any other patient brings to any step."""
    study = tiny_federation.study
    everyone = site.partitions(study)["train"]
    rest = everyone[1:]
    with site.target_cache(study) as cache:
        among, without = source(site, study, cache), source(site, study, cache, rest)
        for step in range(3):
            for index in range(len(rest)):
                first, second = among.load(index + 1, step), without.load(index, step)
                assert all(torch.equal(first[name], second[name]) for name in first)


def test_steps_draw_views_by_coins(tiny_federation, site) -> None:
    """Over the steps a patient shows each of its views, and the same step shows the same."""
    study = tiny_federation.changed(distillation={"num_views": 2})
    with site.target_cache(study) as cache:
        patients = source(site, study, cache)
        shown = {patients.load(0, step)["images"].numpy().tobytes() for step in range(12)}
        assert torch.equal(patients.load(0, 5)["images"], patients.load(0, 5)["images"])
    assert len(shown) == 2


def test_one_loss_a_view(tiny_federation, site) -> None:
    """There is one loss a view; the same patient has the same loss beside any other."""
    study = tiny_federation.study
    with site.target_cache(study) as cache:
        patients = source(site, study, cache)
        first, second, third = (patients.load(index, 0) for index in range(3))

        def together(one: dict, other: dict) -> torch.Tensor:
            return patients.losses({name: torch.cat([one[name], other[name]]) for name in one}).detach()

        assert together(first, second).shape == (2,)
        torch.testing.assert_close(
            together(first, second)[0], together(first, third)[0], rtol=1e-5, atol=1e-6
        )


def test_the_update_is_of_the_trainable_set(tiny_federation, site) -> None:
    """The update has the global weights' names and shapes, is finite, moves, and differs each time by its noise."""
    study = tiny_federation.study
    first, second = (
        private_update(site, study, 1, *site.compact(study), tiny_federation.initial) for _ in range(2)
    )
    assert {n: a.shape for n, a in first.items()} == {n: a.shape for n, a in tiny_federation.initial.items()}
    assert all(np.isfinite(array).all() for array in first.values())
    assert all(not np.array_equal(first[name], second[name]) for name in first)


@pytest.fixture
def broken(tiny_federation, tmp_path: Path):
    """Open a site where one training patient's image cannot be read."""
    task = tiny_federation.study.task
    patients = read_source(tiny_federation.workspace / "manifests" / "film.csv", task)
    index = next(n for n, patient in enumerate(patients) if patient.split == "train")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    images = tuple(
        replace(image, file=tmp_path / "broken.png", mask=None, lesion_mask=None)
        for image in patients[index].images
    )
    patients[index] = Patient(patients[index].patient_id, images)
    write_manifest(patients, tmp_path / "own.csv", task)
    data = {"source": str(tmp_path / "own.csv"), "max_unreadable": 1.0}
    return tiny_federation.site("film", tmp_path, data=data)


def test_an_unreadable_patient_stops_nothing(tiny_federation, broken) -> None:
    """Such a patient is left out of the cache, raises when loaded, and the round's update is made all the same."""
    study = tiny_federation.study
    fill_target_cache(broken, study)
    with broken.target_cache(study) as cache:
        patients = source(broken, study, cache)
        loaded = []
        for index in range(4):
            with suppress(DataError):
                loaded.append(patients.load(index, 0))
        assert len(loaded) == 3
    update = private_update(broken, study, 1, *broken.compact(study), tiny_federation.initial)
    assert all(np.isfinite(array).all() for array in update.values())


@pytest.fixture(scope="module")
def with_readout(tmp_path_factory: pytest.TempPathFactory):
    """Make a miniature whose study trains a readout."""
    return make_tiny_federation(tmp_path_factory.mktemp("readout"), readout_miniature())


def test_a_readout_loses_what_the_whole_model_loses(with_readout, tmp_path: Path) -> None:
    """From what was kept of the frozen part, the loss is that of a pass over the images, to float16's rounding."""
    study, site = with_readout.study, with_readout.site("film", tmp_path)
    compact, adapters = site.compact(study)
    with torch.no_grad():
        assert compact.readout is not None
        compact.readout.linear.weight.normal_(generator=torch.Generator().manual_seed(0)).mul_(0.1)
    with site.target_cache(study) as cache:
        patients = site.partitions(study)["train"]
        kept = SitePatients(patients, study, compact, adapters, cache, COINS)
        for number, patient in enumerate(patients):
            fields = kept.load(number, 0)
            views = read_views(patient, study)
            which = COINS.views(
                patient.patient_id, 0, study.distillation.num_views, study.distillation.views_per_step
            )
            images = views.images(which)
            targets = Targets(site.teacher(study)(images).detach())
            terms = replace(site_terms(study.distillation), feature=0.0)
            labels = torch.from_numpy(views.labels[list(which)])
            whole = view_losses(compact.run(images), labels, targets, None, terms)
            torch.testing.assert_close(kept.losses(fields), whole, rtol=2e-3, atol=2e-3)


def test_a_readouts_round_runs_neither_student_nor_teacher(with_readout, tmp_path: Path) -> None:
    """After enrolment a round reads what was kept; its update moves the readout alone."""
    study, site = with_readout.study, with_readout.site("film", tmp_path)
    fill_target_cache(site, study)
    compact, adapters = site.compact(study)
    passes: list[object] = []
    compact.student.register_forward_hook(lambda *_: passes.append(1))
    compact.student.first_conv.register_forward_hook(lambda *_: passes.append(1))
    update = private_update(site, study, 1, compact, adapters, with_readout.initial)
    assert set(update) == {"readout.linear.weight", "readout.linear.bias"}
    assert not passes
    assert all(np.abs(array).max() > 0 for array in update.values())


@pytest.mark.parametrize("size", [1e-12, 1.0, 1e6, 1e18, 1e36])
def test_no_statistics_of_a_hostile_hub_pass_the_clip(with_readout, tmp_path: Path, size: float) -> None:
    """Whatever the readout's buffers and weights hold, one patient less moves the clipped sum by at most the clip."""
    study, site = with_readout.study, with_readout.site("film", tmp_path)
    compact, adapters = site.compact(study)
    readout, generator = compact.readout, torch.Generator().manual_seed(0)
    assert readout is not None
    with torch.no_grad():
        for one in (readout.mean, readout.scale, readout.directions, readout.shrink, readout.linear.weight):
            one.normal_(generator=generator).mul_(size)
    plan = step_plan(study, 1, site.config.declared_patients, patients_per_chunk=2)
    names = ("readout.linear.bias", "readout.linear.weight")
    patients = site.partitions(study)["train"]
    with site.target_cache(study) as cache:

        def summed(who: list[Patient]) -> torch.Tensor:
            sums = clipped_sum_for_step(
                compact, names, plan, patient_ids=[one.patient_id for one in who], coins=COINS,
                source=SitePatients(who, study, compact, adapters, cache, COINS), step=0,
            )  # fmt: skip
            return torch.cat([sums[name].flatten() for name in names])

        everybody = summed(patients)
        for gone in range(len(patients)):
            less = summed(patients[:gone] + patients[gone + 1 :])
            assert float((everybody - less).norm()) <= 1.0 + 1e-9


def test_what_a_readout_is_given_goes_with_its_patient(with_readout, tmp_path: Path) -> None:
    """A withdrawn patient's kept maps are deleted like the targets; those of others stay."""
    study, site = with_readout.study, with_readout.site("film", tmp_path)
    fill_target_cache(site, study)
    gone = site.partitions(study)["train"][0].patient_id
    table, forgotten = site.config.state_dir / "targets.sqlite", [forgotten_name(site.key(), gone)]
    assert purge_targets(table, lambda _: True, forgotten) == 2
    assert purge_targets(table, lambda _: True, forgotten) == 0
