"""Faults that are planted, each in a copy of the source tree, and the check that has to name each of them.

An edit replaces a text that stands exactly once in its file. Where it no longer stands there, the fault cannot be
planted, which counts as not caught: aim it anew.
"""

from dataclasses import dataclass

ENGINE = "client/dp_sgd/private_steps.py"
CLIP = "client/dp_sgd/patient_gradients.py"
NOISE = "shared/privacy/noise.py"
ANSWER = "client/rounds/answer.py"
LEDGER = "client/ledger/ledger.py"
STAGES = "shared/messages/stages.py"


@dataclass(frozen=True)
class Edit:
    """One text of one file, and what stands there instead."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Fault:
    """A mistake that would break the claim; `check` has to find that its claim does not hold."""

    name: str
    change: str
    check: str
    edits: tuple[Edit, ...]


FAULTS = (
    Fault("noise off", "the step adds no noise", "noise, size", (
        Edit(ENGINE, "    if plan.noise_multiplier == 0:\n", "    if plan.noise_multiplier >= 0:\n"),
    )),
    Fault("half noise", "the step adds half of the noise", "audit, repeated", (
        Edit(ENGINE, "noise.integers(total.shape)", "(noise.integers(total.shape) // 2)"),
    )),
    Fault("clip off", "nobody's gradient is clipped", "audit, one run", (
        Edit(CLIP, "(norms * (1 + ROUNDING)).clamp_min(grid.max_grad_norm)",
             "torch.full_like(norms, grid.max_grad_norm)"),
    )),
    Fault("clip from a norm of something else", "the norm is that of every other number", "clip, each layer", (
        Edit("client/dp_sgd/gradient_forms.py", "torch.linalg.vector_norm(self.values, dim=1, dtype",
             "torch.linalg.vector_norm(self.values[:, ::2], dim=1, dtype"),
    )),
    Fault("BatchNorm in train mode", "layers that mix patients are taken", "coupling layers", (
        Edit("client/dp_sgd/layer_hooks.py", "        if over_batch or updates or drops:\n", "        if False:\n"),
    )),
    Fault("one seed for two rounds", "each source of noise begins with the same key", "noise, fresh", (
        Edit(NOISE, "        self._rekey(secrets.token_bytes(32))\n\n    @classmethod\n",
             "        self._rekey(bytes(32))\n\n    @classmethod\n"),
    )),
    Fault("an accountant begun anew each round", "only the last request is composed", "ledger, spend", (
        Edit("client/ledger/spend.py", "        for row in rows\n", "        for row in rows[-2:]\n"),
    )),
    Fault("a retry that draws again", "nobody looks whether a request has been answered", "answers, asked again", (
        Edit(LEDGER, 'self._file.stored(last) if last.kind == "commit" else None', "None"),
        Edit(LEDGER, '            if any(row.kind == "commit" and row.key == paid.key for row in rows):\n',
             '            if any(row.kind == "commit" and row.key == paid.key for row in rows):\n'
             "                return\n            if False:\n"),
    )),
    Fault("a chunk as long as the sample", "a chunk is not filled up to its full length", "company", (
        Edit(ENGINE, "*[None] * ((size or plan.patients_per_chunk) - len(chunk))", ""),
    )),
    Fault("a count in a release", "an enrolment carries how many patients train", "answers, counts", (
        Edit(ANSWER, "versions={name: version(name) for name in _VERSIONS},",
             'versions={name: version(name) for name in _VERSIONS}\n'
             '        | {"n": str(len(site.partitions(study)["train"]))},'),
    )),
    Fault("a path in an error", "what failed is told beside the code", "answers, texts", (
        Edit(ANSWER, "    return failure(code, study_uid, number)\n",
             '    return failure(code, study_uid, number) | {"detail": str(error).encode()}\n'),
    )),
    Fault("a ledger row dropped", "rows that the head file knows may be gone", "ledger, cut", (
        Edit("client/ledger/head_file.py", "        elif not expected.startswith(held):\n", "        elif False:\n"),
    )),
    Fault("coins that the hub can choose", "coins come from the study that the hub sends", "coins, secret", (
        Edit("client/rounds/local_training.py", "    coins = Coins.fresh()\n",
             "    coins = Coins(study.digest()[:32].encode())\n"),
    )),
    Fault("float32 noise", "noise is rounded to float32 before it is added", "noise, resolution", (
        Edit(ENGINE, "noise.integers(total.shape)", "noise.integers(total.shape).float().long()"),
    )),
    Fault("no noise on an empty batch", "a step over nobody adds nothing", "noise, empty batch", (
        Edit(ENGINE, "in _with_noise(sums, plan, noise).items():\n",
             "in (_with_noise(sums, plan, noise) if patient_ids else sums).items():\n"),
    )),
    Fault("a failure that is not final", "what fails after noise was drawn is computed anew", "answers, failed", (
        Edit("client/rounds/answer_once.py", "            if not noise.drawn:\n", "            if True:\n"),
    )),
    Fault("a spend that is not written", "counts are reserved without their mechanism", "ledger, spend", (
        Edit(STAGES, "Gaussian(noise_multiplier=study.federation.evaluation_noise_multiplier)", "None"),
    )),
    Fault("a cap that is not looked at", "requests beyond the cap are answered", "ledger, cap", (
        Edit(LEDGER, "check_cap(projected, cap, partition, allow_without_privacy=allow_without_privacy)", "pass"),
    )),
    Fault("coins that fall too often", "patients are drawn more often than is accounted", "coins, rate", (
        Edit(NOISE, "< sample_rate * 2.0**64", "< 1.5 * sample_rate * 2.0**64"),
    )),
    Fault("NaN let in", "a patient whose loss or gradient is not finite is summed", "a patient that fails", (
        Edit(CLIP, "usable = values.view(num_patients, -1).isfinite().all(1)",
             "usable = torch.ones(num_patients, dtype=torch.bool)"),
        Edit(CLIP, "        usable = usable & norms.isfinite()\n", ""),
    )),
)  # fmt: skip
