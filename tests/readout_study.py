"""A study that trains a readout, for tests that read its numbers alone."""

from shared.config.files import overridden, parse_study
from shared.config.study import StudyConfig


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
