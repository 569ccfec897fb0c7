"""A second device for machines that have no GPU: `second:0`, whose tensors hold tensors of the CPU and compute there.

Torch lets a program register a device of its own; here every operator comes to `_run`. As on a GPU, tensors of two
devices do not mix, a device has so much memory and no more, and its results are the CPU's own, bit for bit. What it
cannot show is a GPU's speed, rounding and libraries. To be imported in a process of its own: torch cannot forget it.
"""

import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_setup_privateuseone_for_python_backend("second")
DEVICE = torch.device("second", 0)
aten = torch.ops.aten
operators: Counter[str] = Counter()  # what was asked of the device


class Memory:
    """The bytes that the device holds, the most it ever held, and the most it can hold."""

    def __init__(self) -> None:
        self.live: Counter[int] = Counter()  # tensors by the address of what they share
        self.held_bytes = self.peak_bytes = 0
        self.limit_bytes = float("inf")

    def keep(self, tensor: "Held") -> None:
        storage = tensor.inner.untyped_storage()
        address, size = storage.data_ptr(), storage.nbytes()
        if not self.live[address]:
            if self.held_bytes + size > self.limit_bytes:
                raise torch.OutOfMemoryError(f"{DEVICE}: {self.held_bytes} bytes held, {size} more asked")
            self.held_bytes += size
            self.peak_bytes = max(self.peak_bytes, self.held_bytes)
        self.live[address] += 1
        weakref.finalize(tensor, self._release, address, size)

    def _release(self, address: int, size: int) -> None:
        self.live[address] -= 1
        if not self.live[address]:
            self.held_bytes -= size


memory = Memory()


class Held(Tensor):
    """A tensor of the second device."""

    inner: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: Tensor) -> Self:
        return Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            device=DEVICE, requires_grad=False,
        )  # fmt: skip

    def __init__(self, inner: Tensor) -> None:
        self.inner = inner
        memory.keep(self)

    @classmethod
    def __torch_dispatch__(
        cls, operator: Any, _types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        # in inference mode operators come here whole that else come in parts
        parts = operator.decompose(*args, **kwargs)
        return _run(operator, *args, **kwargs) if parts is NotImplemented else parts


def _run(operator: Any, *args: Any, **kwargs: Any) -> Any:
    operators[str(operator)] += 1
    if operator is aten._to_copy.default:
        device = kwargs.pop("device", None) or args[0].device
        copy = operator(_inner(args[0]), **kwargs)
        return Held(copy) if device.type == DEVICE.type else copy
    if operator is aten.copy_.default:
        _inner(args[0]).copy_(_inner(args[1]))
        return args[0]
    flat, form = pytree.tree_flatten((args, kwargs))
    held = {id(one.inner): one for one in flat if isinstance(one, Held)}
    for one in flat:
        if isinstance(one, Tensor) and not isinstance(one, Held) and one.dim() > 0:
            raise RuntimeError(f"{operator}: a tensor of the {one.device} among those of {DEVICE}")
    plain_args, plain_kwargs = pytree.tree_unflatten([_inner(one) for one in flat], form)
    result = operator(*plain_args, **plain_kwargs)
    return pytree.tree_map_only(
        Tensor, lambda one: held[id(one)] if id(one) in held else Held(one), result
    )  # what works in place gives the tensor that it was given


def _inner(value: Any) -> Any:
    if isinstance(value, torch.device):
        return torch.device("cpu")
    return value.inner if isinstance(value, Held) else value


_library = torch.library.Library("_", "IMPL", "PrivateUse1")
_library.fallback(_run, "PrivateUse1")
