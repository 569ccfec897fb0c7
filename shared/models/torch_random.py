"""Numbers of torch's own generator, by a seed: whoever makes weights with it leaves it as it was."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# torch has one generator a process: two threads would draw from each other's seed
_ONE_AT_A_TIME = threading.RLock()


@contextmanager
def torch_seeded(seed: int) -> Iterator[None]:
    """Let torch's own generator of the CPU begin at `seed`; restored afterwards, other threads that want it wait."""
    with _ONE_AT_A_TIME, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
