"""What the models and maps are called whose figures stand beside each other, the same on report, card and dashboard.

In: a key, as summaries and the audit store hold it. Out: its name for a reader. The order is that of a report.
"""

from typing import Final

CENTRAL_EPOCHS: Final = 2  # over all sites' images, in the comparison with central training
MODEL_NAMES: Final = {
    "teacher": "Teacher (frozen)",
    "warm_start": "Warm start (public cohort only)",
    "federated_private": "This study: federated, private",
    "federated": "Federated, without privacy",
    "central": f"Central: all images in one place, {CENTRAL_EPOCHS} epochs",
    "trivial": "Trivial: twelve brightness numbers",
}
TRIVIAL: Final = "trivial"  # the floor: what brightness alone tells
OWN: Final = (
    "federated_private",
    "federated",
)  # the study's own student is the first of these that was measured
_GROUPS: Final = {  # of models with a name of their own behind a dot
    "site_alone": "{} alone, private",
    "site_alone_without_privacy": "{} alone, without privacy",
    "methods": "Method {}",
}
MAP_NAMES: Final = {
    "student": "student's map",
    "teacher": "teacher's map",
    "explainer": "explainer's mask",
    "random": "random maps (floor)",
    "centre": "bump in the middle (floor)",
}
MAP_PANELS: Final = {  # above a map that is drawn
    "teacher": "Teacher",
    "explainer": "Explainer’s mask",
    "student": "Student",
    "random": "Random maps (floor)",
    "centre": "Bump in the middle (floor)",
}
FLOORS: Final = ("random", "centre")  # maps that look at nothing


def model_name(key: str) -> str:
    """Name the model of a key: one of `MODEL_NAMES`, or 'north alone, private' for `site_alone.north`."""
    group, dot, own = key.partition(".")
    if dot and group in _GROUPS:
        return _GROUPS[group].format(own)
    return MODEL_NAMES.get(key, key.replace("_", " "))


def model_place(key: str) -> tuple[int, str]:
    """Sort key: the order of a report."""
    order = [*MODEL_NAMES, *_GROUPS]
    group = key.partition(".")[0]
    return order.index(group) if group in order else len(order), key
