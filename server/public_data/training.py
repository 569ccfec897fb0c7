"""Training on the public cohort: the teacher's fit and the student's warm start.

Both see only public images, so nothing here is private; both are seeded, so the same study gives the same
weights on the same machine.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from server.public_data.images import Progress, PublicImages, tensors
from server.public_data.readout_fit import fit_readout
from shared.config.study import StudyConfig
from shared.data.views import view
from shared.distillation.objective import Targets, Terms, method_terms, teacher_in_loop_losses, view_losses
from shared.models.adapters import Adapters
from shared.models.compact import CompactModel, build_compact, fill_image
from shared.models.fast_depthwise import fast_depthwise
from shared.models.initial import pack_initial
from shared.models.student import load_published
from shared.models.teacher import Teacher
from shared.models.torch_random import torch_seeded

_WEIGHT_DECAY = 1e-4
_MAX_GRAD_NORM = 5.0
_MASK_FROM, _MASK_FULL = 0.4, 0.8  # share of the warm start


@dataclass(frozen=True)
class Batch:
    """One augmented batch: images (N, 3, H, W) and labels (N,)."""

    images: Tensor
    labels: Tensor


def fit_teacher(
    model: nn.Module,
    cohort: PublicImages,
    *,
    epochs: int,
    learning_rate: float,
    seed: int,
    flip: bool,
    progress: Progress,
) -> None:
    """Fit a classifier to the cohort's labels in place (AdamW, one cycle, batches of 32)."""
    model.train()

    def losses(batch: Batch, _: int) -> Tensor:
        loss: Tensor = functional.cross_entropy(model(batch.images), batch.labels, label_smoothing=0.05)
        return loss

    plan = _Plan("teacher", epochs, min(32, len(cohort)), learning_rate, seed, flip)
    _optimise([model], cohort, plan, losses, progress)
    model.eval()


@dataclass(frozen=True)
class WarmStarted:
    """The compact model and the adapters after the warm start, both ready to be frozen into a file."""

    compact: CompactModel
    adapters: Adapters

    def state(self) -> dict[str, Tensor]:
        """All tensors of the file that round 0 starts from."""
        return pack_initial(self.compact, self.adapters)


def warm_start(
    study: StudyConfig,
    teacher: Teacher,
    cohort: PublicImages,
    *,
    seed: int,
    progress: Progress,
    student_file: Path | None = None,
    unseen: PublicImages | None = None,
) -> WarmStarted:
    """Distil compact model, adapters and sigmas on the public cohort with the whole objective; then fit the readout.

    `student_file` holds the published weights that a frozen student begins with; `unseen` are public images that train
    nothing (`server.public_data.readout_fit`).
    """
    terms = method_terms(study.distillation)
    compact = build_compact(study, seed=seed)
    if compact.readout is not None:
        compact.readout.requires_grad_(False)  # it learns last, on what is frozen then
    if student_file is not None:
        load_published(compact.student, study.models.student, student_file)
    adapters = _first_adapters(compact, teacher, cohort)
    flip = not study.task.laterality_matters

    rules = study.warm_start
    batch_size = min(rules.batch_size, len(cohort))  # a small cohort is one batch, not none
    plan = _Plan("warm start", rules.epochs, batch_size, rules.learning_rate, seed, flip)

    def losses(batch: Batch, step: int) -> Tensor:
        targets = _targets(teacher, batch.images, terms)
        output = compact.run(batch.images)
        now = mask_terms_at(terms, step / plan.num_steps(cohort))
        each = view_losses(output, batch.labels, targets, adapters, now)
        if now.uses_teacher_in_loop and step % rules.teacher_in_loop_every == 0:
            fill = fill_image(batch.images, study.distillation.fill)
            each = each + teacher_in_loop_losses(teacher, output, batch.images, fill, targets, now)
        return each.mean()

    _optimise([compact, adapters], cohort, plan, losses, progress)
    adapters.freeze()
    fit_readout(study, compact, teacher, cohort, unseen, progress)
    return WarmStarted(compact, adapters)


def mask_terms_at(terms: Terms, progress: float) -> Terms:
    """Return the terms with the mask's weights grown from 0 to their own over the middle of the warm start.

    The mask starts open, so the student learns first; a mask that closes before the student knows what matters
    hides it (measured: public test AUC 0.59 with full weights from the first step, 0.85 without a mask).
    """
    share = min(1.0, max(0.0, (progress - _MASK_FROM) / (_MASK_FULL - _MASK_FROM)))
    return replace(
        terms,
        area=share * terms.area,
        total_variation=share * terms.total_variation,
        teacher_on_masked=share * terms.teacher_on_masked,
        teacher_on_complement=share * terms.teacher_on_complement,
    )


def train_further(
    study: StudyConfig,
    started: WarmStarted,
    teacher: Teacher,
    images: PublicImages,
    *,
    epochs: int,
    progress: Progress,
) -> CompactModel:
    """Go on training the whole compact model on more images with the same objective and no privacy.

    Only for comparison, on images that are all in one place: what a federation would do if it need not exist.
    """
    terms = method_terms(study.distillation)
    compact, adapters = started.compact, started.adapters

    def losses(batch: Batch, _: int) -> Tensor:
        targets = _targets(teacher, batch.images, terms)
        return view_losses(compact.run(batch.images), batch.labels, targets, adapters, terms).mean()

    rules = study.warm_start
    flip = not study.task.laterality_matters
    batch_size = min(rules.batch_size, len(images))
    plan = _Plan("central", epochs, batch_size, rules.learning_rate / 2, 0, flip)
    _optimise([compact], images, plan, losses, progress)
    return compact.eval()


def build_adapters(compact: CompactModel, teacher: Teacher, image_size: int) -> Adapters:
    """Adapters between the matched layers of one student and one teacher, not yet trained."""
    blank = torch.zeros(1, 3, image_size, image_size)
    with torch.inference_mode():
        features = compact.run(blank).features
        _, wanted = teacher.features(blank)
    return Adapters(
        [layer.shape[1] for layer in features],
        [layer.shape[1] for layer in wanted],
        [(layer.shape[2], layer.shape[3]) for layer in wanted],
    )


def _first_adapters(compact: CompactModel, teacher: Teacher, cohort: PublicImages) -> Adapters:
    with torch_seeded(0):
        adapters = build_adapters(compact, teacher, cohort.pixels.shape[1])
    images = tensors(cohort.pixels[:64])
    with torch.inference_mode():
        features = compact.run(images).features
        _, wanted = teacher.features(images)
    adapters.start_from([f.clone() for f in features], [w.clone() for w in wanted])
    return adapters


def _targets(teacher: Teacher, images: Tensor, terms: Terms) -> Targets:
    with torch.no_grad():
        if terms.uses_features:
            return Targets(*teacher.features(images))
        return Targets(teacher(images))


@dataclass(frozen=True)
class _Plan:
    name: str
    epochs: int
    batch_size: int
    learning_rate: float
    seed: int
    flip: bool

    def num_steps(self, cohort: PublicImages) -> int:
        return self.epochs * (len(cohort) // self.batch_size)


def _optimise(
    modules: list[nn.Module],
    cohort: PublicImages,
    plan: _Plan,
    losses: Callable[[Batch, int], Tensor],
    progress: Progress,
) -> None:
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    total = plan.num_steps(cohort)
    if total == 0:
        return
    optimiser = torch.optim.AdamW(parameters, lr=plan.learning_rate, weight_decay=_WEIGHT_DECAY, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, plan.learning_rate, total_steps=total)
    with fast_depthwise():
        for step, batch in enumerate(_augmented_batches(cohort, plan)):
            optimiser.zero_grad(set_to_none=True)
            loss = losses(batch, step)
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(parameters, _MAX_GRAD_NORM)
            optimiser.step()
            schedule.step()
            progress(plan.name, step + 1, total)


def _augmented_batches(cohort: PublicImages, plan: _Plan) -> Iterator[Batch]:
    generator = np.random.default_rng(plan.seed)
    for epoch in range(plan.epochs):
        order = generator.permutation(len(cohort))
        for start in range(0, len(order) - plan.batch_size + 1, plan.batch_size):
            rows: NDArray[np.int64] = order[start : start + plan.batch_size]
            views = np.stack(
                [view(cohort.pixels[row], f"image-{row}", epoch, flip=plan.flip) for row in rows]
            )
            yield Batch(tensors(views), torch.from_numpy(cohort.labels[rows]))
