"""What a comparison has computed, kept so that an interrupted one goes on where it stopped."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deploy.simulation.terminal_progress import Progress
from shared.whole_file import whole_file

Probabilities = NDArray[np.float64]


def kept(store: Path, key: str, compute: Callable[[], Probabilities], progress: Progress) -> Probabilities:
    """Compute an item once; a second call reads what the first one kept."""
    path = store / f"{key}.npy"
    if not path.is_file():
        progress.say(f"Comparing: {key}")
        store.mkdir(parents=True, exist_ok=True)
        result = compute()
        with whole_file(path) as part, part.open("wb") as file:
            np.save(file, result)
    probabilities: Probabilities = np.load(path)
    return probabilities
