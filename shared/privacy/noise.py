"""Where chance comes from: Gaussian noise from operating system entropy, and each patient's own coins.

In: shapes and standard deviations; patient identifiers and step numbers. Out: float64 noise, coin tosses.
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
from scipy.special import ndtri
from torch import Tensor

DRAWS = 4  # n = 2 in arXiv 2107.10138: 2n draws make the floating-point noise too costly to invert
CHUNK = 1 << 18  # draws at a time: 2 MiB of keystream stay in the cache


class NoiseSource:
    """Gaussian noise from an AES-256-CTR keystream under a fresh key from the operating system.

    Each value is the sum of 4 float64 draws divided by 2 (arXiv 2107.10138, against attacks on the holes of
    floating-point noise, arXiv 2112.05307). The key is never stored; a forked process takes a new one.
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

    def gaussian(self, shape: Sequence[int], std: float) -> Tensor:
        """Return a float64 tensor of independent normal values with mean 0 and standard deviation `std`.

        `std` is finite and not negative; 0 gives exact zeros.
        """
        if not (math.isfinite(std) and std >= 0):
            raise ValueError(f"std is {std}, allowed is a finite number from 0 up; check the multiplier")
        self.drawn |= std > 0
        size = math.prod(shape)
        if std == 0 or size == 0:
            return torch.zeros(tuple(shape), dtype=torch.float64)
        values = np.empty(size)
        step = CHUNK // DRAWS
        for start in range(0, size, step):
            stop = min(start + step, size)
            draws = self._normal(DRAWS * (stop - start)).reshape(DRAWS, -1)
            np.multiply(draws.sum(axis=0), std / math.sqrt(DRAWS), out=values[start:stop])
        return torch.from_numpy(values.reshape(tuple(shape)))

    def _normal(self, size: int) -> np.ndarray:
        if self._process != os.getpid() and not self.seeded:
            self._rekey(secrets.token_bytes(32))  # a fork would otherwise repeat the parent's noise
        words = np.frombuffer(self._keystream.update(bytes(8 * size)), dtype="<u8")
        # 52 bits and a half: the middle of a cell, exact in float64, so neither 0 nor 1 (infinite) can occur
        uniform = ((words >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
        normal: np.ndarray = ndtri(uniform, out=uniform)
        return normal

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
