"""Where a site's heavy work runs: on the processor, or on the GPU that `site.yaml` names.

In: `compute` of `site.yaml`. Out: a device that was tried, or a refusal with a fixed code. A GPU is looked for before
data is touched and before anything is charged, so that the answer depends on the machine and never on patients.
"""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from shared.config.site import Compute
from shared.errors import DeviceError, ErrorCode, Refusal

log = logging.getLogger("rounds.site")
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Gpu:
    """One GPU as torch describes it; `free_bytes` is what no process on it holds now."""

    name: str
    free_bytes: int
    total_bytes: int


def find_device(compute: Compute) -> torch.device:
    """Return the device that `compute.device` asks for; a GPU has computed something, so it works.

    `auto` is the first GPU, or the cpu where torch finds none that works. `Refusal` (`device_missing`) where a GPU is
    asked for by name that is not there or does not work.
    """
    if compute.device == "cpu":
        return CPU
    asked = torch.device("cuda" if compute.device == "auto" else compute.device)
    device, found = torch.device("cuda", asked.index or 0), torch.cuda.device_count()
    if device.index < found and _works(device):
        return device
    if compute.device == "auto":
        if found:
            log.warning("compute.device is auto: torch finds a GPU that does not work; the cpu is used")
        return CPU
    problem = f"torch finds {found} GPUs here" if device.index >= found else "that GPU does not work here"
    raise Refusal(
        ErrorCode.DEVICE_MISSING,
        f"compute.device is {compute.device!r}: {problem}; mend the driver, give the container the GPU "
        "(deploy/site.gpu.compose.yaml), or set compute.device to cpu or auto",
    )


@contextmanager
def working_on(compute: Compute) -> Iterator[torch.device]:
    """Give the device, within `compute`'s threads and share of memory and without TF32; restores what it found.

    `Refusal` as `find_device`; `DeviceError` where the GPU's memory does not suffice for the work inside.
    """
    device = find_device(compute)
    with ExitStack() as restore:
        restore.callback(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(compute.threads)
        if device.type == "cuda":
            restore.enter_context(_limited(device, compute.gpu_memory_fraction))
            restore.enter_context(full_float32())
        try:
            yield device
        except torch.OutOfMemoryError as error:
            raise DeviceError(
                f"compute.device is {compute.device!r}: its memory does not suffice; lower compute.patients_per_chunk, "
                "raise compute.gpu_memory_fraction, or end what else runs on it"
            ) from error


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread of the CPU; restores what it found.

    With more, libraries divide sums among threads as they find them free: the same patient's last bits differ from run
    to run, and weights can be made that blow last bits up.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def full_float32() -> Iterator[None]:
    """Compute products and convolutions on a GPU with all of float32's digits and by fixed algorithms.

    As shipped, cuDNN rounds a convolution's factors to TF32's 10 bits, and a program may ask the same for matrix
    products: errors of 1e-3, a thousand times what the clip allows for (client.dp_sgd.patient_gradients.ROUNDING).
    """
    cudnn: Any = torch.backends.cudnn
    parts: tuple[Any, ...] = (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn)
    with ExitStack() as restore:
        for part in parts:
            restore.callback(setattr, part, "fp32_precision", part.fp32_precision)
            part.fp32_precision = "ieee"
        for name, value in (("deterministic", True), ("benchmark", False)):
            restore.callback(setattr, cudnn, name, getattr(cudnn, name))
            setattr(cudnn, name, value)
        yield


def gpu_facts(device: torch.device) -> Gpu:
    """Return what torch says of a GPU."""
    free, total = torch.cuda.mem_get_info(device)
    return Gpu(torch.cuda.get_device_name(device), free, total)


@contextmanager
def _limited(device: torch.device, fraction: float) -> Iterator[None]:
    before = torch.cuda.get_per_process_memory_fraction(device)
    torch.cuda.set_per_process_memory_fraction(fraction, device)
    try:
        yield
    finally:
        torch.cuda.empty_cache()  # what is cached here is missing to every other process on this GPU
        torch.cuda.set_per_process_memory_fraction(before, device)


def _works(device: torch.device) -> bool:
    """Compute something: a GPU may be listed, and yet be held by others, broken or too old for this torch."""
    try:
        return float(torch.ones(2, device=device).sum()) == 2.0
    except RuntimeError as error:
        log.warning("%s: %s", device, type(error).__name__)
        return False
