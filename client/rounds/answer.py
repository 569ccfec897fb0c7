"""How a site answers one request: one statement a stage, each consuming what the one before returned.

In comes the hub's request as bytes; out go named releases as bytes, all through the door. Whether a site
answers, and with which code, depends on messages, policy and ledger only: everything that fails while
touching data has one code, and whatever one patient does wrong makes that patient contribute zero.
"""

import logging
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version

from pydantic import TypeAdapter, ValidationError

from client.rounds.answer_once import UNKNOWN_UID, answered_once, failure
from client.rounds.answer_time import reply_period, wait_for_turn
from client.rounds.charging import charge_weights, checked_ledger, may_leave, reserve, statement
from client.rounds.egress import Door
from client.rounds.local_evaluation import noised_confusion
from client.rounds.local_training import fill_target_cache, private_update, rehearse_on_gpu
from client.rounds.study_cost import require_whole_study
from client.site.device import find_device, working_on
from client.site.site import Site
from client.site.site_rules import describe
from shared.code_digest import code_digest
from shared.config.files import parse_study
from shared.config.kinds import RequestKind
from shared.config.study import StudyConfig
from shared.errors import ApprovalsError, ErrorCode, LedgerError, Refusal, RoundsError
from shared.messages.releases import (
    EnrolmentRelease,
    EvaluationRelease,
    Release,
    Shapes,
    UpdateRelease,
    check_arrays,
)
from shared.messages.requests import Request, decode_request
from shared.messages.stages import STAGES, ProtocolStage
from shared.models.adapters import Adapters
from shared.models.arrays import Arrays
from shared.models.compact import CompactModel
from shared.models.trainable import load_trainable, trainable_names
from shared.privacy.noise import NoiseSource

__all__ = ["accepted_study", "answer", "failure", "reserve"]

log = logging.getLogger("rounds.site")
MAX_ABSOLUTE_WEIGHT = 1e4  # far above any trained weight; anything larger is refused before data is read
_VERSIONS = ("flwr", "torch", "teaching-rounds")
Computation = Callable[
    [Site, StudyConfig, Request, CompactModel, Adapters, NoiseSource],
    tuple[UpdateRelease | EvaluationRelease, Arrays],
]
_JSON: TypeAdapter[dict[str, object]] = TypeAdapter(dict[str, object])


def answer(site: Site, payload: bytes) -> dict[str, bytes]:
    """Answer one request; never raises, so that no exception's text can reach the hub.

    From where a study is accepted, every answer leaves at a fixed time: the purge of targets, whose own time depends on
    how many there are, comes after that.
    """
    try:
        request = decode_request(payload)
        study = accepted_study(site, request)
        find_device(site.config.compute)
    except Exception as error:  # noqa: BLE001 - every failure becomes a fixed code
        return _refused(error, ErrorCode.BAD_REQUEST)
    uid, number, kind = request.header.study_uid, request.header.round, request.header.kind
    otherwise = ErrorCode.NOT_READY if kind == "enrol" else ErrorCode.FAILED
    try:
        period = reply_period(site, study, kind)
    except Exception as error:  # noqa: BLE001 - no text may cross; no data was touched yet
        return _refused(error, otherwise, uid, number)
    started = time.monotonic()
    try:
        site.purge_targets()
        parts = (enrol if STAGES[kind].charge is None else charged)(site, study, request)
    except Exception as error:  # noqa: BLE001 - one code for everything that fails while touching data
        parts = _refused(error, otherwise, uid, number)
    wait_for_turn(started, period)
    return parts


def accepted_study(site: Site, request: Request) -> StudyConfig:
    """Validate the study that came along; refuse a study or code that the hospital has not approved."""
    try:
        raw = _JSON.validate_json(request.header.study_json)
    except ValidationError as error:
        raise Refusal(ErrorCode.BAD_REQUEST, "study_json is not a JSON object") from error
    study = parse_study(raw, "the hub's study")
    site.check_study(study)
    site.check_code(request.header.code_digest)
    return study


def enrol(site: Site, study: StudyConfig, request: Request) -> dict[str, bytes]:
    """Count the look, check the data, fill the target cache, and say who takes part; again without looking.

    A site whose cap does not pay for what is left of the study is told so before it looks, and spends nothing.
    """
    rehearse_on_gpu(site, study)
    fields = EnrolmentRelease(
        site=site.config.name,
        study_digest=study.digest(),
        code_digest=code_digest(),
        versions={name: version(name) for name in _VERSIONS},
        declared_patients=site.config.declared_patients,
    )
    uid, number = request.header.study_uid, request.header.round
    # of public values alone: after a change of code or of the declared number, a site that enrolled says what is so now
    payload = Door(site.config).let_out(Release(uid, number, fields), None)
    with checked_ledger(site, request) as ledger:
        require_whole_study(site, study, ledger, uid)
        look = ledger.reserve_enrolment(uid, number, study.digest(), site.config.max_enrolments)
        if look.stored is None:
            site.check_data(study)
            fill_target_cache(site, study)
            ledger.commit(look, payload)
    return {"enrolment": payload}


def charged(site: Site, study: StudyConfig, request: Request) -> dict[str, bytes]:
    """Reserve, compute, store the bytes, send; or send the stored bytes again."""
    header = request.header
    stage = STAGES[header.kind]
    if stage.each_round and not 1 <= header.round <= study.federation.rounds:
        raise Refusal(
            ErrorCode.BAD_REQUEST,
            f"round is {header.round}, allowed is 1 to federation.rounds ({study.federation.rounds})",
        )
    may_leave(site, stage.release)
    compact, adapters = site.compact(study)
    shapes = stage.shapes(study, checked_weights(compact, study, request.weights))

    def compute(noise: NoiseSource) -> tuple[Release, Shapes]:
        made = _COMPUTATIONS[header.kind](site, study, request, compact, adapters, noise)
        return Release(header.study_uid, header.round, *made), shapes

    return released(site, study, request, stage, compute)


def _update(
    site: Site,
    study: StudyConfig,
    request: Request,
    compact: CompactModel,
    adapters: Adapters,
    noise: NoiseSource,
) -> tuple[UpdateRelease, Arrays]:
    """Take the private steps of one round."""
    header = request.header
    update = private_update(site, study, header.round, compact, adapters, request.weights, noise)
    return UpdateRelease(base_sha256=header.base_digest, values=study.federation.update_values), update


def _evaluation(
    site: Site,
    study: StudyConfig,
    request: Request,
    compact: CompactModel,
    _adapters: Adapters,
    noise: NoiseSource,
) -> tuple[EvaluationRelease, Arrays]:
    """Count, with noise, how the global student does on this site's evaluation patients."""
    sigma = study.federation.evaluation_noise_multiplier
    load_trainable(compact, request.weights)
    patients = site.partitions(study)["evaluation"]
    with working_on(site.config.compute) as device:
        counts = noised_confusion(compact.to(device), patients, study.task, sigma, noise)
    return EvaluationRelease(student_sha256=request.header.base_digest, noise_std=sigma), {
        "confusion": counts
    }


_COMPUTATIONS: Mapping[RequestKind, Computation] = {"train": _update, "evaluate": _evaluation}


def released(
    site: Site,
    study: StudyConfig,
    request: Request,
    stage: ProtocolStage,
    compute: Callable[[NoiseSource], tuple[Release, Shapes]],
) -> dict[str, bytes]:
    """Charge, answer once, and state what was spent; a failure leaves alone."""
    charge = stage.charge
    if charge is None:
        raise ValueError(f"{stage.kind}: is charged to nobody")
    failed = failure(ErrorCode.FAILED, request.header.study_uid, request.header.round)["error"]
    with checked_ledger(site, request) as ledger:
        charge_weights(site, ledger, study)
        reservation = reserve(site, ledger, request, charge.mechanism(study), charge.partition)
        parts = answered_once(site, ledger, reservation, stage.release, failed, compute)
        return parts if "error" in parts else {**parts, **statement(site, ledger, study, request)}


def checked_weights(compact: CompactModel, study: StudyConfig, weights: Arrays) -> Shapes:
    """Refuse weights with other names, shapes, types or values than the trainable set's."""
    parameters = dict(compact.named_parameters())
    names = trainable_names(compact, study.privacy.trainable)
    expected = {name: tuple(parameters[name].shape) for name in names}
    try:
        check_arrays(weights, expected, MAX_ABSOLUTE_WEIGHT)
    except RoundsError as error:
        raise Refusal(ErrorCode.BAD_REQUEST, str(error)) from error
    return expected


def _refused(
    error: Exception, otherwise: ErrorCode, study_uid: str = UNKNOWN_UID, number: int = 0
) -> dict[str, bytes]:
    code = error.code if isinstance(error, Refusal) else otherwise
    if isinstance(error, LedgerError):
        code = ErrorCode.LEDGER_STOPPED
    if isinstance(error, ApprovalsError):
        code = ErrorCode.APPROVALS_STOPPED
    log.error("refused with %s: %s", code, describe(error))
    return failure(code, study_uid, number)
