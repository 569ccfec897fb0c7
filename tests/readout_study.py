"""Studies that train a readout: one whose numbers alone are read, and the miniature's."""

from copy import deepcopy
from typing import Any

from shared.config.files import overridden, parse_study
from shared.config.study import StudyConfig
from tests.conftest import STUDY


def readout_study(**changes: object) -> StudyConfig:
    """Return a study of four sites whose readout of the mean map is merged by the filter; `changes` by dotted name."""
    raw: dict[str, object] = {
        "name": "readout", "purpose": "test", "ethics_reference": "none", "expires": "2100-01-01",
        "task": {"classes": ["normal", "opacity"], "image_size": 64},
        "models": {"readout": {"stage": 3, "grid": 1}},
        "privacy": {"trainable": "readout", "sample_rate": 1.0, "max_grad_norm": 1.5, "noise_multiplier": 1.2},
        "federation": {"rounds": 3, "steps": 1, "learning_rate": 0.5, "merge": "filter", "min_sites": 4},
    }  # fmt: skip
    return parse_study(overridden(raw, changes))


def readout_miniature() -> dict[str, Any]:
    """Return the miniature's study with a readout that is merged by the filter."""
    raw = deepcopy(STUDY)
    raw["models"] |= {"readout": {"stage": 3, "grid": 2}}
    raw["distillation"] = {"site_weights": {"alpha": 0.8, "temperature": 1.0}}
    raw["privacy"] |= {"trainable": "readout", "sample_rate": 1.0}
    raw["federation"] |= {"steps": 1, "learning_rate": 1.0, "merge": "filter"}
    return raw
