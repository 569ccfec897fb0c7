"""The checks of `tests/device_checks.py`, and a few that only a device made for tests allows, on the second device.

`python -m tests.second_device_checks FOLDER` prints one line of JSON: each check, and what went wrong or null.
"""

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

from client.rounds.answer import answer
from client.rounds.local_training import SitePatients
from shared.errors import ErrorCode
from tests import device_checks
from tests.conftest import TinyFederation, make_tiny_federation
from tests.device_checks import Check, Work, code, working_there
from tests.second_device import DEVICE, memory, operators

DRAWING = ("rand", "normal_", "normal.", "bernoulli", "uniform", "exponential", "dropout", "poisson")


def nothing_is_drawn_on_the_device(device: torch.device, federation: TinyFederation, folder: Path) -> None:
    """Take a round's steps: nothing that is asked of the device draws a random number, so noise is the CPU's."""
    operators.clear()
    Work(device, federation, folder).update(noise_multiplier=1.0)
    assert operators["aten.convolution.default"] > 100
    assert [name for name in operators if any(word in name for word in DRAWING)] == []


def memory_does_not_tell_who_was_sampled(
    device: torch.device, federation: TinyFederation, folder: Path
) -> None:
    """Measure a step's memory: as much for one patient as for a full chunk, and hardly less for nobody."""
    work = Work(device, federation, folder)
    sums = sum(total.nbytes for total in work.clipped_sum(4).values())  # and the targets are in the cache now
    peaks = []
    for num_patients in (0, 1, 3, 4):
        memory.peak_bytes = before = memory.held_bytes
        work.clipped_sum(num_patients)
        peaks.append(memory.peak_bytes - before)
    nobody, one, chunk, _ = peaks
    assert one == chunk, peaks
    # beside a chunk, other than beside the rehearsal, lie the sums so far and the last chunk's, all float64
    assert 1_000_000 < nobody <= max(peaks) <= nobody + 4 * sums, peaks


def too_little_memory_is_one_answer(device: torch.device, federation: TinyFederation, folder: Path) -> None:
    """Ask where a chunk does not fit: `not_ready` at enrolment, `failed` in a round, charged once, never zeros."""
    site = federation.site("film", folder)
    request = federation.request("train", 1)
    with working_there(device):
        memory.limit_bytes = memory.held_bytes + 2_000_000
        try:
            assert code(answer(site, federation.request("enrol", 0))) == ErrorCode.NOT_READY
            assert [code(answer(site, request)) for _ in range(2)] == [ErrorCode.FAILED] * 2
        finally:
            memory.limit_bytes = float("inf")
        assert "update" in answer(site, request)
    with site.ledger() as ledger:
        assert len(ledger.mechanisms("train")) == 1


def a_fault_in_the_middle_ends_the_round(
    device: torch.device, federation: TinyFederation, folder: Path
) -> None:
    """Let others take the memory after the rehearsal: the step ends, and nobody is left out of the sum for it."""
    work = Work(device, federation, folder)
    work.clipped_sum(4)
    load = SitePatients.load

    def load_while_others_come(self: SitePatients, patient: int, step: int) -> Any:
        memory.limit_bytes = memory.held_bytes + 1_000_000  # a third of a chunk, and more than the sums
        return load(self, patient, step)

    try:
        with (
            mock.patch.object(SitePatients, "load", load_while_others_come),
            pytest.raises(torch.OutOfMemoryError),
        ):
            work.clipped_sum(4)
    finally:
        memory.limit_bytes = float("inf")


def devices_do_not_mix(device: torch.device, *_: object) -> None:
    """Add a tensor of the CPU to one of the device: refused, so that the checks above can fail."""
    with pytest.raises(RuntimeError, match="a tensor of the cpu among those of second"):
        torch.ones(2, device=device) + torch.ones(2)


CHECKS: tuple[Check, ...] = (
    *device_checks.CHECKS,
    nothing_is_drawn_on_the_device,
    memory_does_not_tell_who_was_sampled,
    too_little_memory_is_one_answer,
    a_fault_in_the_middle_ends_the_round,
    devices_do_not_mix,
)


def main(folder: Path) -> None:
    """Run every check and print what became of each."""
    torch.autograd.set_multithreading_enabled(False)
    federation = make_tiny_federation(folder / "federation")
    results: dict[str, str | None] = {}
    for check in CHECKS:
        try:
            check(DEVICE, federation, folder / check.__name__)
            results[check.__name__] = None
        except BaseException:  # noqa: BLE001 - told by the test that reads this; pytest.raises fails with no Exception
            results[check.__name__] = traceback.format_exc()
    print(json.dumps(results), flush=True)
    os._exit(0)  # torch's threads for a device made in Python do not end by themselves


if __name__ == "__main__":
    main(Path(sys.argv[1]))
