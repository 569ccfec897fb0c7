"""One round of a site's training: its patients behind the private steps.

In: the study, the compact model and the global weights. Out: the update, which may leave through the door once
the ledger has it. A patient's tensors are the patient's own views and the teacher's targets for them; which
views a step uses is decided by the patient's own coins.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from client.dp_sgd.private_steps import private_steps, rehearse_step
from client.site.device import CPU, working_on
from client.site.site import Site
from client.site.target_cache import TargetCache
from shared.config.study import StudyConfig
from shared.data.patients import Patient
from shared.distillation.objective import Targets, logit_losses, site_terms, view_losses
from shared.distillation.targets import pick, read_views
from shared.errors import DataError
from shared.models.adapters import Adapters
from shared.models.arrays import Arrays, to_arrays
from shared.models.compact import CompactModel
from shared.models.trainable import load_trainable, trainable_names
from shared.privacy.noise import Coins, NoiseSource
from shared.privacy.step_plan import step_plan


class SitePatients:
    """A site's training patients as private steps take them (`client.dp_sgd.private_steps.PatientSource`)."""

    def __init__(
        self,
        patients: Sequence[Patient],
        study: StudyConfig,
        compact: CompactModel,
        adapters: Adapters,
        cache: TargetCache,
        coins: Coins,
    ) -> None:
        self._patients = patients
        self._study = study
        self._compact = compact
        self._adapters = adapters
        self._cache = cache
        self._coins = coins
        self._terms = site_terms(study.distillation)
        self._readout = compact.readout if study.only_readout_trains else None

    @property
    def template(self) -> Mapping[str, Tensor]:
        """Views of a made-up patient: black images of class 0 (for a readout, maps of zeros), targets of zeros."""
        samples, size = self._study.distillation.views_per_step, self._study.task.image_size
        num_classes = len(self._study.task.classes)
        fields = {
            "labels": torch.zeros(samples, dtype=torch.int64),
            "logits": torch.zeros(samples, num_classes),
        }
        if self._readout is not None:
            pooled = torch.zeros(samples, len(self._readout.mean))
            return fields | {"frozen_logits": torch.zeros(samples, num_classes), "pooled": pooled}
        fields["images"] = torch.zeros(samples, 3, size, size)
        if self._terms.uses_features:
            for number, (mean, side) in enumerate(
                zip(self._adapters.sigma2(), self._adapters.teacher_sizes, strict=True)
            ):
                fields[f"feature{number}"] = torch.zeros(samples, len(mean), *side)
        return fields

    def load(self, patient: int, step: int) -> Mapping[str, Tensor]:
        """Read one patient's views of this step and the teacher's targets for them, on the CPU."""
        rules = self._study.distillation
        one = self._patients[patient]
        views = read_views(one, self._study)
        if not ((views.labels >= 0) & (views.labels < len(self._study.task.classes))).all():
            # on a GPU a loss with such a label ends the process's use of it, for every patient
            raise DataError("a label is no class of the study; correct data.label_map")
        which = self._coins.views(one.patient_id, step, rules.num_views, rules.views_per_step)
        targets = pick(self._cache.targets(one.patient_id, views), which)
        fields = {"labels": torch.from_numpy(views.labels[list(which)]), "logits": targets.logits}
        if self._readout is not None:
            inputs = self._cache.readout_inputs(one.patient_id, views, self._compact)
            rows = list(which)
            return fields | {"frozen_logits": inputs.logits[rows], "pooled": inputs.pooled[rows].float()}
        fields["images"] = views.images(which)
        return fields | {f"feature{number}": layer for number, layer in enumerate(targets.features)}

    def losses(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the objective of each view, (P S,)."""
        if self._readout is not None:
            logits = batch["frozen_logits"] + self._readout(batch["pooled"])
            return logit_losses(logits, batch["labels"], batch["logits"], self._terms)
        features = tuple(batch[name] for name in sorted(batch) if name.startswith("feature"))
        output = self._compact.run(batch["images"])
        targets = Targets(batch["logits"], features)
        return view_losses(output, batch["labels"], targets, self._adapters, self._terms)


def private_update(
    site: Site,
    study: StudyConfig,
    number: int,
    compact: CompactModel,
    adapters: Adapters,
    weights: Arrays,
    noise: NoiseSource | None = None,
) -> Arrays:
    """Take the private steps of round `number` (from 1) from the global weights and return the update, on the CPU.

    All noise comes from `noise`, or from a source of its own. Steps run on the site's device. Targets that the cache
    lacks are computed on the CPU all the same: a teacher that comes to the GPU with one patient would take memory that
    the rehearsal has not counted. A readout's steps run on the CPU: they are small, and what the frozen part of the
    model says of a new patient would need such memory, too.
    """
    compute = site.config.compute
    load_trainable(compact, weights)
    coins = Coins.fresh()
    patients = site.partitions(study)["train"]
    with working_on(compute) as found, site.target_cache(study) as cache:
        device = CPU if study.only_readout_trains else found
        compact.to(device)
        source = SitePatients(patients, study, compact, adapters.to(device), cache, coins)
        update = private_steps(
            compact,
            trainable_names(compact, study.privacy.trainable),
            step_plan(study, number, site.config.declared_patients, compute.patients_per_chunk),
            patient_ids=[patient.patient_id for patient in patients],
            coins=coins,
            noise=noise or NoiseSource(),
            source=source,
        )
        return to_arrays(update)


def rehearse_on_gpu(site: Site, study: StudyConfig) -> None:
    """Take a step with made-up patients where steps run on a GPU: one that is too small must not enrol.

    On the cpu nothing is tried: what memory Linux will grant, only `rounds-site check` can forecast.
    """
    compute = site.config.compute
    with working_on(compute) as device:
        if device.type == "cpu" or study.only_readout_trains:
            return
        compact, adapters = site.compact(study)
        with site.target_cache(study) as cache:
            source = SitePatients([], study, compact, adapters.to(device), cache, Coins.fresh())
            plan = step_plan(study, 1, site.config.declared_patients, compute.patients_per_chunk)
            names = trainable_names(compact, study.privacy.trainable)
            rehearse_step(compact.to(device), names, plan, source)


def fill_target_cache(site: Site, study: StudyConfig) -> None:
    """Compute the teacher's targets, and what a readout is given, of every training patient once, on the site's device.

    Teacher and compact model are loaded and every patient read, whether or not anybody is new.
    """
    with working_on(site.config.compute) as device, site.target_cache(study, device) as cache:
        cache.load_teacher()
        compact = site.compact(study)[0].to(device) if study.only_readout_trains else None
        for patient in site.partitions(study)["train"]:
            try:
                views = read_views(patient, study)
            except Exception:  # noqa: BLE001, S112 - whatever is wrong with one patient, that patient contributes zero
                continue
            cache.targets(patient.patient_id, views)  # what fails here is the teacher's or the machine's
            if compact is not None:
                cache.readout_inputs(patient.patient_id, views, compact)
