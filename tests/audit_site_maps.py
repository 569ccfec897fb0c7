"""Mean maps that hospitals would release of their own patients, for the records of `audit_records`: made by code.

Five hospitals release 7x7 maps of one class under epsilon 1 (noise 3.73 x clip 0.3 of a patient's shares). One of them
has too few patients to be shown.
"""

import math
from statistics import NormalDist
from typing import Final

import numpy as np

from server.store.record_kinds import Grid, MapBody
from tests.audit_records import Entry, small_study

SIDE, CELLS = 7, 49
PATIENTS: Final = {"bedside": 420, "children": 260, "film": 510, "processed": 190, "village": 14}
TOO_FEW: Final = "village"
NOISE: Final = 3.73 * 0.3 * CELLS  # of the sum, times uniform
SECRET: Final = 7.1234  # what the hospital with too few patients released in every cell: must appear nowhere
LABEL: Final = "opacity"


def study_with_site_maps() -> list[Entry]:
    """Return the small study, with 7x7 reference maps and what five hospitals released of their own patients."""
    random = np.random.default_rng(77)
    truth = _shape()
    patients = _patients(random, truth, 60)
    entries = small_study()
    for subject in ("student", "teacher"):
        entries.append((_reference(subject, patients), ()))
    for site, count in PATIENTS.items():
        own = truth.copy()
        if site == "processed":
            own[6, 0] += 4  # a marker in one corner, which only this hospital's films have
        noised = _patients(random, own / own.mean(), count).mean(0) + random.normal(0, NOISE / count, CELLS)
        values = tuple(noised.tolist()) if site != TOO_FEW else (SECRET,) * CELLS
        entries.append(
            (
                MapBody(
                    subject="student", label=LABEL, source=site, site_release=True, num_images=count,
                    num_patients=count, noise_std=NOISE / count, epsilon=1.0,
                    grid=Grid(rows=SIDE, columns=SIDE, values=values),
                ),
                (),
            )
        )  # fmt: skip
    return entries


def _shape() -> np.ndarray:
    """Return a map that prefers two lungs."""
    x, y = np.meshgrid(*(np.linspace(-1, 1, SIDE),) * 2)
    lungs = sum(np.exp(-6 * (x - side * 0.45) ** 2 - 2 * y**2) for side in (-1, 1))
    shape: np.ndarray = 0.3 + lungs
    return shape / shape.mean()


def _patients(random: np.random.Generator, truth: np.ndarray, count: int) -> np.ndarray:
    energy = random.gamma(2 * truth.ravel(), size=(count, CELLS))
    maps: np.ndarray = energy / energy.mean(1, keepdims=True)
    return maps


def _reference(subject: str, patients: np.ndarray) -> MapBody:
    mean, std = patients.mean(0), patients.std(0, ddof=1) / math.sqrt(len(patients))
    half = NormalDist().inv_cdf(1 - 0.025 / CELLS) * std
    edges = {"low": tuple((mean - half).tolist()), "high": tuple((mean + half).tolist())}
    return MapBody.model_validate(
        {
            "subject": subject, "label": LABEL, "num_images": len(patients), "num_patients": len(patients),
            "grid": {"rows": SIDE, "columns": SIDE, "values": tuple(mean.tolist()), **edges},
        }
    )  # fmt: skip
