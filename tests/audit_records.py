"""Whole studies as records, made by code: `small_study()` to read, `big_study()` to be slow on.

Out: (body, blobs) in the order in which a study process writes them; `records_of` chains them with times of their own,
`fill` puts them into a store. The same arguments give the same bytes. No person's image is in any of it.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from typing import Any, Final, Literal

import numpy as np
import sqlalchemy as sa

from server.store.append import append_batch
from server.store.blobs import Blob, put_blobs
from server.store.chain import GENESIS, Record, link
from server.store.database import writing
from server.store.record_kinds import (
    EVERY,
    Body,
    DataBody,
    DocumentBody,
    EventBody,
    FiguresBody,
    FilmBody,
    ImageBody,
    MapBody,
    ModelBody,
    ReleaseBody,
    RoundBody,
    SiteBody,
    StatementBody,
    StatusBody,
    StudyBody,
)
from shared.errors import ErrorCode
from tests.audit_figures import (
    MODELS,
    auc_after,
    audited,
    evaluation,
    gate,
    image_figures,
    model_card,
)
from tests.audit_pictures import SUBJECTS, as_grid, mean_film, picture, subject_map
from tests.audit_plan import SILENT, SMALL, Plan, big_plan, head_hash, statement

Entry = tuple[Body, tuple[Blob, ...]]
Verdict = Literal["accepted", "held"]
SMALL_UID: Final = SMALL.uid
BIG_UID: Final = "b" * 32
START: Final = datetime(2026, 5, 4, 7, 30, tzinfo=UTC)
FEWEST_FOR_INTERVAL: Final = 5
VERSIONS: Final = {"flwr": "1.41.0", "torch": "2.15.0", "teaching-rounds": "0.1.0"}
CODE: Final = head_hash("code", 0)
LATERALITY: Final = "the patient's left is on the right of the picture"


def small_study(verdict: Verdict = "accepted") -> list[Entry]:
    """Return a finished study of four sites, two classes and eight rounds.

    `children` is silent in round 2, `bedside` is asked twice in round 3, `processed` fails in round 5, and `film` has
    spent its budget after round 5. One map holds no evidence. Site releases, drift and shortcuts are not measured.
    """
    return list(_study(SMALL, verdict))


def running_study(rounds: int = 5) -> list[Entry]:
    """Return the same study as it stands after some rounds: no figures, no verdict, no status but `running`."""
    begun = takewhile(lambda entry: not isinstance(entry[0], StatusBody), small_study())
    return [(body, blobs) for body, blobs in begun if (getattr(body, "round", None) or 0) <= rounds]


def big_study(rounds: int = 1000, sites: int = 50, classes: int = 20, images: int = 500) -> Iterator[Entry]:
    """Yield a finished study of that size, one entry after the other: the default has about 130,000."""
    return _study(big_plan(rounds, sites, classes, images), "held")


def records_of(
    entries: Iterable[Entry], uid: str = SMALL_UID, start: datetime = START
) -> Iterator[tuple[Record, tuple[Blob, ...]]]:
    """Yield the entries as one chain; a round takes its seconds, anything else 50 ms."""
    before, time = GENESIS, start
    for seq, (body, blobs) in enumerate(entries, 1):
        time += timedelta(seconds=getattr(body, "seconds", None) or 0.05)
        record = link(before, seq, uid, body, time)
        before = record.chain
        yield record, blobs


def fill(
    engine: sa.Engine,
    entries: Iterable[Entry],
    uid: str = SMALL_UID,
    source: str = "run:small",
    batch: int = 500,
) -> int:
    """Put a study into a store, blobs before the records that name them; returns the number of records."""
    chain, count = records_of(entries, uid), 0
    while some := list(islice(chain, batch)):
        with writing(engine).begin() as connection:
            put_blobs(connection, [blob for _, blobs in some for blob in blobs])
        append_batch(engine, source, [record for record, _ in some])
        count += len(some)
    return count


def _study(plan: Plan, verdict: Verdict) -> Iterator[Entry]:
    yield StudyBody(config=plan.config, simulation=True, code_digest=CODE, versions=VERSIONS), ()
    yield DataBody(data_kind="made", name="phantoms", notes=("Made images, no person's.",)), ()
    for index, (site, declared) in enumerate(plan.sites.items()):
        versions = VERSIONS | ({"torch": "2.14.1"} if index == 2 else {})
        yield SiteBody(site=site, declared_patients=declared, code_digest=CODE, versions=versions), ()
    yield RoundBody(round=0, auc=auc_after(plan, 0), mask_area=0.52), ()
    yield from _round_maps(plan, 0)
    charged = dict.fromkeys(plan.sites, 0)
    spent_up: dict[str, str] = {}
    for number in range(1, plan.config.federation.rounds + 1):
        yield from _round(plan, number, charged, spent_up)
        yield from _round_maps(plan, number)
    yield StatusBody(state="completed"), ()
    yield from _findings(plan, verdict)


def _round(plan: Plan, number: int, charged: dict[str, int], spent_up: dict[str, str]) -> Iterator[Entry]:
    """Yield one round; `charged` counts each site's rounds, `spent_up` holds those that are not asked again."""
    asked = [site for site in plan.sites if site not in spent_up]
    yield EventBody(event="round_started", round=number, details={"sites": asked}), ()
    missing, num_bytes = dict(spent_up), {}
    for column, site in enumerate(asked):
        why = plan.missing.get((number, site), "")
        if plan.out_of_budget(site, charged[site]):
            why = str(ErrorCode.BUDGET_SPENT)
            spent_up[site] = why
        else:
            charged[site] += 1  # a site that fails or is late has reserved its row
        if why:
            missing[site] = why
        if why != SILENT:
            num_bytes[site] = 840 if why else 118_204 + 8 * column
            outcome = why or "accepted"
            yield ReleaseBody(
                site=site, round=number, release="update", num_bytes=num_bytes[site], outcome=outcome
            ), ()  # fmt: skip
            follows = None if number == 1 else True
            yield (
                StatementBody(round=number, statement=statement(plan, site, charged[site]), follows=follows),
                (),
            )
    again = ("bedside",) if "bedside" in plan.sites and number == 3 else ()
    for site in again:
        what = "the node failed and was sent the same request once more"
        yield EventBody(event="asked_again", round=number, site=site, what=what), ()
    yield (
        RoundBody(
            round=number,
            answered=tuple(site for site in plan.sites if site not in missing),
            missing=missing,
            asked_again=again,
            epsilon={site: plan.epsilon(count) for site, count in charged.items()},
            num_bytes=num_bytes,
            seconds=round(8.6 + 0.7 * (number % 5) + (24.0 if SILENT in missing.values() else 0.0), 2),
            auc=auc_after(plan, number),
            mask_area=round(0.52 - 0.05 * number / plan.config.federation.rounds, 4),
        ),
        (),
    )


def _round_maps(plan: Plan, number: int) -> Iterator[Entry]:
    random = np.random.default_rng([21, number])
    trained = number / plan.config.federation.rounds
    for index, label in enumerate((EVERY, *plan.config.task.classes)):
        n = plan.cells.get((label, EVERY), 0)
        found = subject_map("student", index, random, plan.grid, trained)
        if n:
            yield MapBody(
                subject="student", label=label, round=number, num_images=n, num_patients=n, grid=as_grid(found)
            ), ()  # fmt: skip


def _findings(plan: Plan, verdict: Verdict) -> Iterator[Entry]:
    yield FiguresBody(of="evaluation", figures=tuple(evaluation(plan))), ()
    yield FiguresBody(of="audit", figures=tuple(audited(plan))), ()
    yield from _films(plan)
    yield from _maps(plan)
    yield from _images(plan)
    judged = gate(plan, verdict)
    weights = Blob(np.random.default_rng(31).bytes(4096), "application/octet-stream")
    facts = {
        "teacher": "resnet10t",
        "student": "ofa595",
        "num_parameters": 6_042_310,
        "trainable_set": "scales",
    }
    yield ModelBody(weights=weights.digest, num_bytes=len(weights.content), facts=facts), (weights,)
    yield judged, ()
    yield (
        DocumentBody(
            name="summary", document=_summary(plan, verdict, judged.model_dump(mode="json", exclude={"kind"}))
        ),
        (),
    )
    yield DocumentBody(name="model_card", document=model_card(plan, judged.sentence)), ()


def _films(plan: Plan) -> Iterator[Entry]:
    for index, source in enumerate((EVERY, *plan.sites)):
        film, outlines, n = mean_film(index)
        yield FilmBody(
            source=source, film=film.digest, num_images=n, outlines=outlines, laterality=LATERALITY
        ), (film,)  # fmt: skip


def _maps(plan: Plan) -> Iterator[Entry]:
    random = np.random.default_rng(22)
    labels = (EVERY, *plan.config.task.classes)
    for (label, source), n in plan.cells.items():
        for subject in SUBJECTS:
            bare = (subject, label, source) == ("student", labels[-1], list(plan.sites)[-1])
            found = subject_map(subject, labels.index(label), random, plan.grid)
            grid = None if bare else as_grid(found, n if n >= FEWEST_FOR_INTERVAL else None)
            yield MapBody(
                subject=subject, label=label, source=source, num_images=n, num_patients=n,
                num_without_evidence=n if bare else n // 8, grid=grid,
            ), ()  # fmt: skip


def _images(plan: Plan) -> Iterator[Entry]:
    random = np.random.default_rng(23)
    classes = plan.config.task.classes
    for index in range(plan.num_images):
        label, source = plan.image_place(index)
        drawn = picture(index, ill=label not in ("normal", "no finding"))
        found: dict[Any, Any] = {
            subject: as_grid(subject_map(subject, classes.index(label) + 1, random, plan.grid)) for subject in SUBJECTS
        }  # fmt: skip
        if index == 0:
            found["student"] = None  # the worst: no positive evidence
        wrong = index % 7 == 0
        blobs = tuple(blob for blob in (drawn.film, drawn.lungs, drawn.lesions) if blob)
        yield ImageBody(
            key=head_hash("image", index)[:16], rank=index + 1, patient=index, source=source, true_class=label,
            predicted_class=classes[(classes.index(label) + wrong) % len(classes)],
            film=drawn.film.digest, region=drawn.lungs.digest, lesions=drawn.lesions and drawn.lesions.digest,
            maps=found, figures=image_figures(random, label),
        ), blobs  # fmt: skip


def _summary(plan: Plan, verdict: str, judged: dict[str, Any]) -> dict[str, Any]:
    """Return what the report reads of summary.json; fields that are not here have the schema's own defaults."""
    config = plan.config
    auc = {
        name: {"value": value, "low": value - 0.01, "high": value + 0.01, "n": 1411}
        for name, value in MODELS.items()
    }
    return {
        "status": "completed",
        "verdict": verdict,
        "study": {
            "name": plan.name, "digest": config.digest(), "uid": plan.uid, "method": config.distillation.method,
            "data_kind": "made", "data_name": "phantoms", "classes": list(config.task.classes),
            "image_size": config.task.image_size, "purpose": config.purpose,
        },
        "test_auc": auc,
        "privacy": config.privacy.model_dump(mode="json"),
        "gate": judged,
        "digests": {"study": config.digest(), "code": CODE},
        "versions": VERSIONS,
    }  # fmt: skip
