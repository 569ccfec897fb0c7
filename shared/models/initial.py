"""The file that round 0 starts from: the warm-started compact model with its adapters, as named tensors.

Made by the hub from public images only; every site loads it by the digest that its hospital accepted.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from shared.config.study import StudyConfig
from shared.errors import WeightsError
from shared.models.adapters import Adapters
from shared.models.compact import CompactModel, build_compact
from shared.models.weights import load_into

_SIZES = "adapter_sizes"


def pack_initial(compact: CompactModel, adapters: Adapters) -> dict[str, Tensor]:
    """Return all tensors under `compact.` and `adapters.`, and the teacher's pooled sizes (L, 2)."""
    parts = {"compact": compact, "adapters": adapters}
    state = {f"{part}.{name}": t for part, module in parts.items() for name, t in module.state_dict().items()}
    return state | {_SIZES: torch.tensor(adapters.teacher_sizes)}


def unpack_initial(study: StudyConfig, state: Mapping[str, Tensor]) -> tuple[CompactModel, Adapters]:
    """Build both modules and load them; `WeightsError` names the first tensor that does not fit."""
    compact = build_compact(study)
    load_into(compact, _under("compact.", state))
    own = _under("adapters.", state)
    if _SIZES not in state:
        raise WeightsError(f"weights lack {_SIZES}; use a file made by the warm start")
    firsts = [own[f"means.{i}.0.weight"] for i in range(len(state[_SIZES]))]
    sizes = [(int(height), int(width)) for height, width in state[_SIZES]]
    adapters = Adapters([w.shape[1] for w in firsts], [w.shape[0] for w in firsts], sizes)
    load_into(adapters, own)
    adapters.freeze()
    return compact.eval(), adapters


def _under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}
