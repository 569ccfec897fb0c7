"""What a made study is like: its sites, rounds and budget, who is missing when, and what each site has spent by then.

`SMALL` spends what the accountant says of its own mechanisms (a test compares); `BIG` interpolates such figures.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property

import numpy as np

from server.store.record_kinds import EVERY
from shared.config.federation import Federation
from shared.config.study import Models, Privacy, StudyConfig, Task, TeacherChoice
from shared.errors import ErrorCode
from shared.messages.release_kinds import KEPT_SIMULATION, LedgerStatement, PartitionSpend
from shared.privacy.mechanisms import MechanismCount, PoissonGaussian

SILENT = "no answer by the deadline"


@dataclass(frozen=True)
class Plan:
    """One made study. `missing` names why a site does not take part in a round; a refusal for the budget is final."""

    uid: str
    name: str
    config: StudyConfig
    sites: dict[str, int]  # declared patients
    num_images: int
    grid: int
    spent: tuple[
        tuple[int, float], ...
    ]  # (rounds charged, epsilon), the points between which it is interpolated
    missing: dict[tuple[int, str], str] = field(default_factory=dict)
    caps: dict[str, float] = field(default_factory=dict)  # those that hospitals show

    def epsilon(self, charged: int) -> float:
        """Return what a site spent that was charged in so many rounds."""
        return float(np.interp(charged, *zip((0, 0.0), *self.spent, strict=True)))

    def image_place(self, index: int) -> tuple[str, str]:
        """Return class and site of origin of the `index`-th reference image."""
        classes, sites = self.config.task.classes, tuple(self.sites)
        return classes[index % len(classes)], sites[(index // len(classes) + index) % len(sites)]

    @cached_property
    def cells(self) -> dict[tuple[str, str], int]:
        """Reference images of each class and site of origin, and of all; cells without images are left out."""
        counts: dict[tuple[str, str], int] = {}
        for index in range(self.num_images):
            label, source = self.image_place(index)
            for cell in ((EVERY, EVERY), (label, EVERY), (EVERY, source), (label, source)):
                counts[cell] = counts.get(cell, 0) + 1
        return counts

    def out_of_budget(self, site: str, charged: int) -> bool:
        """Tell whether one round more would pass the cap that a site shows."""
        return self.epsilon(charged + 1) > self.caps.get(site, np.inf)


def head_hash(site: str, seq: int) -> str:
    """Return the hash of a row of a site's made ledger."""
    return hashlib.sha256(f"{site}/{seq}".encode()).hexdigest()


def statement(plan: Plan, site: str, charged: int) -> LedgerStatement:
    """Return what a site's ledger states after so many charged rounds: a row each, and one for the study."""
    privacy, steps = plan.config.privacy, plan.config.federation.steps
    spent = plan.epsilon(charged)
    mechanisms = ()
    if charged:
        one = PoissonGaussian(
            noise_multiplier=privacy.noise_multiplier or 1.0,
            sample_rate=privacy.sample_rate,
            steps=steps * charged,
        )
        mechanisms = (MechanismCount(mechanism=one, rows=charged),)
    train = PartitionSpend(
        partition="train",
        epsilon=spent,
        pld_epsilon=max(0.0, spent - 0.0103),
        accountant="prv" if charged else "basic",
        mechanisms=mechanisms,
    )
    unused = [
        PartitionSpend(partition=one, epsilon=0.0, pld_epsilon=0.0, accountant="basic", mechanisms=())
        for one in ("evaluation", "audit")
    ]
    return LedgerStatement(
        site=site,
        head_seq=charged + 1,
        head_hash=head_hash(site, charged + 1),
        epsilon=spent,
        delta=privacy.delta,
        partitions=(train, *unused),
        cap_epsilon=plan.caps.get(site),
        span=KEPT_SIMULATION,
    )


def _config(
    name: str, classes: tuple[str, ...], privacy: Privacy, federation: Federation, size: int
) -> StudyConfig:
    return StudyConfig(
        name=name,
        purpose="Show what the audit of a study looks like, on procedural chest X-rays; no clinical use.",
        ethics_reference="none needed (no person's image)",
        expires=date(2035, 12, 31),
        task=Task(classes=classes, positive=classes[1] if len(classes) == 2 else None, image_size=size),
        models=Models(
            teacher=TeacherChoice(name="resnet10t", sha256=head_hash("teacher", 0)),
            initial_sha256=head_hash("initial", 0),
        ),
        privacy=privacy,
        federation=federation,
    )


SMALL = Plan(
    uid="5" * 32,
    name="small",
    config=_config(
        "small",
        ("normal", "opacity"),
        Privacy(epsilon=8.0, delta=1e-5, sample_rate=0.1, noise_multiplier=0.79832),
        Federation(rounds=8, steps=6, quorum=2, min_sites=4),
        64,
    ),
    sites={"bedside": 600, "children": 400, "film": 500, "processed": 600},
    num_images=12,
    grid=16,
    spent=((1, 3.966488), (2, 4.833379), (3, 5.511815), (4, 6.095072), (5, 6.618314), (6, 7.099234), (7, 7.548219),
           (8, 7.971986)),
    missing={(2, "children"): SILENT, (5, "processed"): str(ErrorCode.FAILED)},
    caps={"bedside": 10.0, "film": 7.0},  # `film` has spent its budget after five rounds
)  # fmt: skip

_FINDINGS = (
    "no finding", "atelectasis", "cardiomegaly", "consolidation", "edema", "effusion", "emphysema", "fibrosis",
    "fracture", "granuloma", "hernia", "infiltration", "mass", "nodule", "pleural thickening", "pneumomediastinum",
    "pneumonia", "pneumothorax", "scoliosis", "tuberculosis",
)  # fmt: skip
_BIG_SPENT = (
    (1, 0.9336), (10, 1.5089), (50, 2.2319), (100, 2.7985), (200, 3.6681), (400, 5.0081), (600, 6.1082),
    (800, 7.0788), (1000, 7.9647),
)  # fmt: skip


def big_plan(rounds: int, sites: int, classes: int, images: int) -> Plan:
    """Return a study of a given size; each site misses about one round in forty, each tenth shows a cap."""
    names = [f"site-{number:02d}" for number in range(1, sites + 1)]
    random = np.random.default_rng(3)
    labels = (*_FINDINGS, *(f"finding {number}" for number in range(len(_FINDINGS), classes)))[:classes]
    away = random.random((rounds + 1, sites)) < 0.025
    return Plan(
        uid="b" * 32,
        name="big",
        config=_config(
            "big",
            tuple(labels),
            Privacy(epsilon=8.0, delta=1e-5, sample_rate=0.02, noise_multiplier=0.84863),
            Federation(rounds=rounds, steps=2, quorum=min(10, sites), min_sites=min(10, sites)),
            224,
        ),
        sites={name: int(random.integers(2, 60)) * 100 for name in names},
        num_images=images,
        grid=14,
        spent=_BIG_SPENT,
        missing={
            (number, names[column]): SILENT if (number + column) % 3 else str(ErrorCode.FAILED)
            for number, column in np.argwhere(away).tolist()
        },
        caps=dict.fromkeys(names[::10], 7.0),
    )
