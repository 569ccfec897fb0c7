"""What would the ledger hold after a study? Asked before `site.yaml` is whole, so from its places alone.

In: the folders that site.yaml names, and the study. Out: an epsilon; nothing is begun, and nothing spent.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from client.ledger.ledger import Ledger
from client.rounds.study_cost import whole_study
from client.setup.proposals.numbers import proposed_delta
from shared.config.study import StudyConfig
from shared.errors import RoundsError
from shared.privacy.accountant import spend_against
from shared.privacy.mechanisms import Mechanism


def after_study(site: Mapping[str, Any], study: StudyConfig, declared: int) -> float:
    """Return epsilon after every round of the study, on top of what the ledger holds for training patients."""
    spent = _spent(Path(str(site.get("state_dir"))) / "ledger.sqlite", Path(str(site.get("head_file"))))
    asked = whole_study(study)["train"]
    return spend_against([*spent, *asked], study.privacy.epsilon, proposed_delta(declared, study)).epsilon


def _spent(path: Path, head: Path) -> list[Mechanism]:
    if not path.is_file():
        return []
    try:
        with Ledger.open(path, head) as ledger:
            return ledger.mechanisms("train")
    except RoundsError:
        return []  # `rounds-site check` says what is wrong with it
