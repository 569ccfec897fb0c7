"""Where chance comes from: Gaussian noise from operating system entropy, and each patient's own coins.

In: shapes; patient identifiers and step numbers. Out: integer noise, coin tosses.
Keys, coins and raw noise never leave the site; only sums with noise inside do, by the door.
"""

import math
import os
import secrets
from collections.abc import Sequence
from hashlib import blake2b
from typing import Self

import numpy as np
import torch
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from numpy.typing import NDArray
from torch import Tensor

from shared.privacy.discrete_gaussian import SCALE_BITS, discrete_gaussian

NOISE_SCALE = 1 << SCALE_BITS  # standard deviation of the integers


class NoiseSource:
    """Gaussian noise from an AES-256-CTR keystream under a fresh key from the operating system.

    What protects patients are integers (`integers`), added to sums of integers of the same grid
    (`shared.privacy.grid`). The key is never stored; a forked process takes a new one.
    `drawn` says whether any noise was asked for: from then on a second answer would be a second draw.
    """

    def __init__(self) -> None:
        self.seeded = False
        self.drawn = False
        self._rekey(secrets.token_bytes(32))

    @classmethod
    def seeded_without_privacy(cls, key: bytes) -> Self:
        """Return a repeatable source for tests and for runs with privacy off.

        Whoever knows the key can subtract the noise: callers refuse a source with `seeded` set while privacy
        is on. `key` has 32 bytes.
        """
        if len(key) != 32:
            raise ValueError(f"key has {len(key)} bytes, allowed is exactly 32; hash a shorter one first")
        source = cls()
        source.seeded = True
        source._rekey(key)
        return source

    def integers(self, shape: Sequence[int]) -> Tensor:
        """Return an int64 tensor of independent discrete Gaussians of scale `NOISE_SCALE`, mean 0."""
        self.drawn = True  # from here on a failure is an answer: see client.rounds.answer_once
        values = discrete_gaussian(math.prod(shape), self._words)
        return torch.from_numpy(values.reshape(tuple(shape)))

    def gaussian(self, shape: Sequence[int], std: float) -> Tensor:
        """Return float64 noise with mean 0 and standard deviation `std`, a multiple of std / 2^44.

        `std` is finite and not negative; 0 gives exact zeros.
        """
        if not (math.isfinite(std) and std >= 0):
            raise ValueError(f"std is {std}, allowed is a finite number from 0 up; check the multiplier")
        if std == 0:
            return torch.zeros(tuple(shape), dtype=torch.float64)
        return self.integers(shape).to(torch.float64) * (std / NOISE_SCALE)

    def _words(self, size: int) -> NDArray[np.uint64]:
        if self._process != os.getpid() and not self.seeded:
            self._rekey(secrets.token_bytes(32))  # a fork would otherwise repeat the parent's noise
        return np.frombuffer(self._keystream.update(bytes(8 * size)), dtype="<u8")

    def _rekey(self, key: bytes) -> None:
        self._process = os.getpid()
        self._keystream = Cipher(AES256(key), CTR(bytes(16))).encryptor()


class Coins:
    """Coins that belong to one patient each: keyed BLAKE2b of the step and the patient's identifier.

    A patient's coins do not depend on who else is there, so a neighbour test can hold all others fixed. The
    key comes from the operating system, is drawn for one round and stays secret: the accounted sampling
    (Poisson) holds only against those who cannot foresee the coins.
    """

    def __init__(self, key: bytes) -> None:
        if not 16 <= len(key) <= 64:
            raise ValueError(f"key has {len(key)} bytes, allowed is 16 to 64; use Coins.fresh()")
        self._key = key

    @classmethod
    def fresh(cls) -> Self:
        """Return coins under a new key from the operating system."""
        return cls(secrets.token_bytes(32))

    def included(self, patient_id: str, step: int, sample_rate: float) -> bool:
        """Say whether the patient is in this step's batch: true with chance `sample_rate`."""
        return self._word(b"included", patient_id, step, 0) < sample_rate * 2.0**64

    def views(self, patient_id: str, step: int, num_views: int, views_per_step: int) -> tuple[int, ...]:
        """Return `views_per_step` distinct views of 0 .. num_views-1, sorted, each set equally likely."""
        if not 1 <= views_per_step <= num_views:
            raise ValueError(f"views_per_step is {views_per_step}, allowed is 1 to num_views ({num_views})")
        order = sorted(range(num_views), key=lambda view: self._word(b"views", patient_id, step, view))
        return tuple(sorted(order[:views_per_step]))

    def _word(self, purpose: bytes, patient_id: str, step: int, index: int) -> int:
        # fixed-width numbers first: no two questions share their bytes
        message = step.to_bytes(8, "big") + index.to_bytes(4, "big") + patient_id.encode()
        digest = blake2b(message, digest_size=8, key=self._key, person=purpose).digest()
        return int.from_bytes(digest, "big")
