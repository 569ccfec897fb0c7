"""A noised answer is made once: reserved, computed, let out, committed; whatever comes of it is sent again as it is.

In: a paid request and how to compute its release. Out: the parts that leave. Once noise was drawn there is one answer,
be it a failure: were that computed anew under the same row, a hub that can make an answer fail after the noise would
get as many draws as it likes for the price of one. What failed before any noise, and a crash, are computed anew.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from client.ledger.ledger import Ledger, Reservation
from client.rounds.egress import Door
from client.site.site import Site
from client.site.site_rules import describe
from shared.config.kinds import ReleaseKind
from shared.errors import ErrorCode
from shared.messages.release_kinds import ErrorRelease
from shared.messages.releases import Release, encode_release
from shared.models.arrays import Arrays
from shared.privacy.noise import NoiseSource

__all__ = ["answered_once", "failure", "within_limit"]

log = logging.getLogger("rounds.site")
UNKNOWN_UID = "0" * 32


def answered_once(
    site: Site,
    ledger: Ledger,
    reservation: Reservation,
    kind: ReleaseKind,
    failed: bytes,
    compute: Callable[[NoiseSource], tuple[Release, Mapping[str, tuple[int, ...]]]],
) -> dict[str, bytes]:
    """Return the part `kind`, or `error`: stored before, or computed and stored now.

    `compute` draws all its noise from the source that it is given, and returns the release and its arrays' shapes.
    `failed` are the bytes of this request's own failure. Raises what `compute` and the door raise before any noise,
    and whatever the ledger raises: then nothing leaves.
    """
    payload = reservation.stored
    if payload is None:
        noise = NoiseSource()
        try:
            release, shapes = compute(noise)
            if noise.drawn:
                release = replace(release, arrays=within_limit(release.arrays, release.fields.array_limit))
            payload = Door(site.config).let_out(release, shapes)
        except Exception as error:
            if not noise.drawn:
                raise
            log.error("failed after noise was drawn, which is the answer from now on: %s", describe(error))
            payload = failed
        ledger.commit(reservation, payload)
    return {"error" if payload == failed else kind: payload}


def within_limit(arrays: Arrays, limit: float) -> Arrays:
    """Cut noised values off at +-limit and put 0 for what is no number: no answer hangs on where the noise fell."""
    return {
        name: np.nan_to_num(np.clip(array, -limit, limit), nan=0.0).astype(array.dtype, copy=False)
        for name, array in arrays.items()
    }


def failure(code: ErrorCode, study_uid: str = UNKNOWN_UID, number: int = 0) -> dict[str, bytes]:
    """Return an error release: a fixed code and nothing else."""
    return {"error": encode_release(Release(study_uid, number, ErrorRelease(code=code)))}
