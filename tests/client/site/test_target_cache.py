"""The target cache replays what was computed, is sealed, and misses when anything it depends on changed."""

import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch
from cryptography.exceptions import InvalidTag

from client.site.target_cache import TargetCache
from client.site.target_table import purge_targets
from client.site.withdrawn_patients import forgotten_name
from server.public_data.preparation import load_teacher
from shared.config.study import StudyConfig
from shared.data.sources import read_source
from shared.distillation.objective import Targets
from shared.distillation.targets import PatientViews, compute_targets, forecast_bytes, read_views
from shared.models.teacher import Teacher

KEY = b"k" * 32


@dataclass
class Given:
    """A study, its teacher, how often the teacher was loaded, and the views of some patients."""

    study: StudyConfig
    teacher: Teacher
    views: dict[str, PatientViews]
    num_loads: int = 0

    def load(self) -> Teacher:
        self.num_loads += 1
        return self.teacher

    def cache(self, folder: Path, study: StudyConfig | None = None, key: bytes = KEY) -> TargetCache:
        return TargetCache(folder / "targets.sqlite", key, study or self.study, self.load)


@pytest.fixture
def given(tiny_federation) -> Given:
    """Return one site's patients and the tiny study."""
    study = tiny_federation.study
    patients = read_source(tiny_federation.workspace / "manifests" / "film.csv", study.task)
    views = {patient.patient_id: read_views(patient, study) for patient in patients}
    return Given(study, load_teacher(tiny_federation.workspace, study), views)


def equal(first: Targets, second: Targets) -> bool:
    """Say whether two targets are the same bits and types."""
    pairs = zip((first.logits, *first.features), (second.logits, *second.features), strict=True)
    return all(a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)


def test_replay_equals_recomputation(given: Given, tmp_path: Path) -> None:
    """Fresh, replayed and recomputed targets are the same bits; the replay needs no teacher."""
    with given.cache(tmp_path) as cache:
        fresh = {name: cache.targets(name, views) for name, views in given.views.items()}
    assert given.num_loads == 1
    with given.cache(tmp_path) as cache:
        for name, views in given.views.items():
            replayed = cache.targets(name, views)
            assert equal(replayed, fresh[name])
            assert equal(replayed, compute_targets(given.teacher, views, given.study))
    assert given.num_loads == 1


def _other_pixel(views: PatientViews, study: StudyConfig) -> tuple[PatientViews, StudyConfig]:
    pixels = views.pixels.copy()
    pixels[1, 3, 4, 0] ^= 1
    return replace(views, pixels=pixels), study


def _other_teacher(views: PatientViews, study: StudyConfig) -> tuple[PatientViews, StudyConfig]:
    teacher = study.models.teacher.model_copy(update={"sha256": "0" * 64})
    models = study.models.model_copy(update={"teacher": teacher})
    return views, study.model_copy(update={"models": models})


def _other_method(views: PatientViews, study: StudyConfig) -> tuple[PatientViews, StudyConfig]:
    rules = study.distillation.model_copy(update={"method": "kd"})
    return views, study.model_copy(update={"distillation": rules})


@pytest.mark.parametrize("change", [_other_pixel, _other_teacher, _other_method])
def test_a_change_is_a_miss(given: Given, tmp_path: Path, change: Callable) -> None:
    """One changed bit of an image, another teacher or a method with other targets is computed again."""
    name, views = next(iter(given.views.items()))
    with given.cache(tmp_path) as cache:
        cache.targets(name, views)
    changed_views, changed_study = change(views, given.study)
    with given.cache(tmp_path, changed_study) as cache:
        found = cache.targets(name, changed_views)
    assert given.num_loads == 2
    assert equal(found, compute_targets(given.teacher, changed_views, changed_study))


def test_nothing_in_the_file_can_be_read(given: Given, tmp_path: Path) -> None:
    """The file holds no identifier, no number and no field name of a target in the clear."""
    with given.cache(tmp_path) as cache:
        targets = {name: cache.targets(name, views) for name, views in given.views.items()}
    content = (tmp_path / "targets.sqlite").read_bytes()
    for name, one in targets.items():
        assert name.encode() not in content
        for part in (one.logits, *one.features):
            assert part.numpy().tobytes() not in content
        assert one.logits.numpy().tobytes()[:8] not in content
    assert b"logits" not in content
    assert b"feature" not in content


def test_another_key_reads_nothing(given: Given, tmp_path: Path) -> None:
    """Under another site key nothing is found; a row moved to another name does not open."""
    names = list(given.views)[:2]
    with given.cache(tmp_path) as cache:
        for name in names:
            cache.targets(name, given.views[name])
    with given.cache(tmp_path, key=b"x" * 32) as cache:
        cache.targets(names[0], given.views[names[0]])
    assert given.num_loads == 2
    with sqlite3.connect(tmp_path / "targets.sqlite") as database:
        sealed = database.execute("SELECT sealed FROM targets LIMIT 1").fetchone()[0]
        database.execute("UPDATE targets SET sealed = ?", (sealed,))
    database.close()
    with given.cache(tmp_path) as cache:
        opened = []
        for name in names:
            with suppress(InvalidTag):
                opened.append(cache.targets(name, given.views[name]))
    assert len(opened) == 1  # the row that was sealed under this very name


def test_the_forecast_is_what_is_stored(given: Given, tmp_path: Path) -> None:
    """Stored rows take the forecast bytes and a header, nonce and tag of less than 512 bytes a patient."""
    with given.cache(tmp_path) as cache:
        for name, views in given.views.items():
            cache.targets(name, views)
    with sqlite3.connect(tmp_path / "targets.sqlite") as database:
        stored = [size for (size,) in database.execute("SELECT length(sealed) FROM targets")]
    database.close()
    forecast = forecast_bytes(given.teacher, given.study, len(given.views))
    assert len(stored) == len(given.views)
    assert forecast < sum(stored) < forecast + 512 * len(stored)


def test_the_cache_never_changes_the_teacher(given: Given, tmp_path: Path) -> None:
    """The teacher's parameters and statistics are the same bits after the cache was filled."""
    before = {name: value.clone() for name, value in given.teacher.state_dict().items()}
    with given.cache(tmp_path) as cache:
        for name, views in given.views.items():
            cache.targets(name, views)
    assert all(torch.equal(value, before[name]) for name, value in given.teacher.state_dict().items())


def purged(folder: Path, is_approved: Callable[[str], bool], forgotten: tuple[str, ...] = ()) -> int:
    return purge_targets(folder / "targets.sqlite", is_approved, forgotten)


def test_targets_end_with_their_study(given: Given, tmp_path: Path) -> None:
    """On its last day a study's targets are replayed; on the next they are purged, and computed again if asked."""
    name, views = next(iter(given.views.items()))
    today = datetime.now(UTC).date()
    for expires, kept in ((today, True), (today - timedelta(days=1), False)):
        folder = tmp_path / str(expires)
        folder.mkdir()
        study = given.study.model_copy(update={"expires": expires})
        with given.cache(folder, study) as cache:
            cache.targets(name, views)
        assert purged(folder, lambda _: True) == (0 if kept else 1)
        loads = given.num_loads
        with given.cache(folder, study) as cache:
            cache.targets(name, views)
        assert given.num_loads == loads + (0 if kept else 1)


def test_shared_targets_live_as_long_as_one_study_uses_them(given: Given, tmp_path: Path) -> None:
    """A row that a second study replayed stays when the first is withdrawn, and goes with the second."""
    name, views = next(iter(given.views.items()))
    second = given.study.model_copy(update={"name": "second"})
    for study in (given.study, second):
        with given.cache(tmp_path, study) as cache:
            cache.targets(name, views)
    assert given.num_loads == 1
    assert purged(tmp_path, lambda digest: digest == second.digest()) == 0
    assert purged(tmp_path, lambda _: False) == 1


def test_a_purged_row_is_overwritten(given: Given, tmp_path: Path) -> None:
    """Of a purged patient's sealed targets not even the ciphertext stays in the file; the others' rows do."""
    names = list(given.views)[:2]
    with given.cache(tmp_path) as cache:
        for name in names:
            cache.targets(name, given.views[name])
    gone, stays = (forgotten_name(KEY, name) for name in names)
    with closing(sqlite3.connect(tmp_path / "targets.sqlite")) as database:
        sealed = dict(database.execute("SELECT patient, sealed FROM targets"))
    assert purged(tmp_path, lambda _: True, (gone,)) == 1
    content = (tmp_path / "targets.sqlite").read_bytes()
    assert sealed[stays][-32:] in content
    assert sealed[gone][-32:] not in content


def test_a_cache_of_an_older_format_is_begun_anew(given: Given, tmp_path: Path) -> None:
    """Rows that name no study and no patient could never be purged: they are dropped at opening."""
    with closing(sqlite3.connect(tmp_path / "targets.sqlite")) as database, database:
        database.execute("CREATE TABLE targets (name TEXT PRIMARY KEY, sealed BLOB NOT NULL)")
        database.execute("INSERT INTO targets VALUES ('a', 'b')")
    with given.cache(tmp_path) as cache:
        for name, views in given.views.items():
            cache.targets(name, views)
    with closing(sqlite3.connect(tmp_path / "targets.sqlite")) as database:
        assert database.execute("SELECT count(*) FROM targets").fetchone() == (len(given.views),)
