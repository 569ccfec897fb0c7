"""How a site answers one request: one statement a stage, each consuming what the one before returned.

In comes the hub's request as bytes; out go named releases as bytes, all through the door. Whether a site
answers, and with which code, depends on messages, policy and ledger only: everything that fails while
touching data has one code, and whatever one patient does wrong makes that patient contribute zero.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

from pydantic import TypeAdapter, ValidationError

from client.device import find_device, working_on
from client.door import Door
from client.evaluation import noised_confusion
from client.ledger import Ledger, RequestKey, Reservation
from client.site import Site, describe
from client.training_round import prepare_rounds, private_update
from shared.arrays import Arrays
from shared.code import code_digest
from shared.config import StudyConfig
from shared.config_files import parse_study
from shared.errors import ApprovalsError, ErrorCode, LedgerError, Refusal, RoundsError
from shared.models.compact import CompactModel
from shared.models.trainable import load_trainable, trainable_names
from shared.privacy.mechanisms import Declared, Gaussian, Mechanism, PoissonGaussian, Unprotected
from shared.privacy.noise import NoiseSource
from shared.records import Request, decode_request
from shared.releases import (
    EnrolmentRelease,
    ErrorRelease,
    EvaluationRelease,
    Release,
    Shapes,
    UpdateRelease,
    check_arrays,
    encode_release,
)

log = logging.getLogger("rounds.site")
MAX_ABSOLUTE_WEIGHT = 1e4  # far above any trained weight; anything larger is refused before data is read
_UNKNOWN_UID = "0" * 32
_VERSIONS = ("flwr", "torch", "teaching-rounds")
_JSON: TypeAdapter[dict[str, object]] = TypeAdapter(dict[str, object])


def answer(site: Site, payload: bytes) -> dict[str, bytes]:
    """Answer one request; never raises, so that no exception's text can reach the hub."""
    started = time.monotonic()
    try:
        request = decode_request(payload)
        site.purge_targets()
        study = accepted_study(site, request)
        find_device(site.config.compute)
    except Exception as error:  # noqa: BLE001 - every failure becomes a fixed code
        return _refused(error, ErrorCode.BAD_REQUEST)
    uid, number = request.header.study_uid, request.header.round
    try:
        parts = _STAGES[request.header.kind](site, study, request)
    except Exception as error:  # noqa: BLE001 - one code for everything that fails while touching data
        code = ErrorCode.NOT_READY if request.header.kind == "enrol" else ErrorCode.FAILED
        parts = _refused(error, code, uid, number)
    _wait_until(started, study.federation.reply_after_seconds)
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
    """Check ledger and data, fill the target cache, and say who takes part."""
    with site.ledger():
        pass
    site.check_data(study)
    prepare_rounds(site, study)
    fields = EnrolmentRelease(
        site=site.config.name,
        study_digest=study.digest(),
        code_digest=code_digest(),
        versions={name: version(name) for name in _VERSIONS},
        declared_patients=site.config.declared_patients,
    )
    release = Release(request.header.study_uid, request.header.round, fields)
    return {"enrolment": Door(site.config).let_out(release, None)}


def train(site: Site, study: StudyConfig, request: Request) -> dict[str, bytes]:
    """Reserve, take the private steps, store the bytes, send; or send the stored bytes again."""
    if not 1 <= request.header.round <= study.federation.rounds:
        raise Refusal(
            ErrorCode.BAD_REQUEST,
            f"round is {request.header.round}, allowed is 1 to federation.rounds ({study.federation.rounds})",
        )
    compact, adapters = site.compact(study)
    expected = checked_weights(compact, study, request.weights)
    with checked_ledger(site, request) as ledger:
        charge_weights(site, ledger, study)
        reservation = reserve(site, ledger, request, training_mechanism(study), "train")
        if reservation.stored is None:
            number = request.header.round
            update = private_update(site, study, number, compact, adapters, request.weights)
            fields = UpdateRelease(
                base_sha256=request.header.base_digest, values=study.federation.update_values
            )
            release = Release(request.header.study_uid, request.header.round, fields, update)
            payload = Door(site.config).let_out(release, expected)
            ledger.commit(reservation, payload)
        else:
            payload = reservation.stored
        return {"update": payload, **statement(site, ledger, study, request)}


def evaluate(site: Site, study: StudyConfig, request: Request) -> dict[str, bytes]:
    """Count, with noise, how the global student does on this site's evaluation patients."""
    if "evaluation" not in site.config.allow_releases:
        raise Refusal(ErrorCode.RELEASE_NOT_ALLOWED, "allow_releases does not list evaluation")
    compact, _ = site.compact(study)
    checked_weights(compact, study, request.weights)
    sigma = study.federation.evaluation_noise_multiplier
    with checked_ledger(site, request) as ledger:
        charge_weights(site, ledger, study)
        mechanism = Gaussian(noise_multiplier=sigma)
        reservation = reserve(site, ledger, request, mechanism, "evaluation")
        if reservation.stored is None:
            load_trainable(compact, request.weights)
            patients = site.partitions(study)["evaluation"]
            with working_on(site.config.compute) as device:
                counts = noised_confusion(compact.to(device), patients, study.task, sigma, NoiseSource())
            fields = EvaluationRelease(student_sha256=request.header.base_digest, noise_std=sigma)
            release = Release(request.header.study_uid, request.header.round, fields, {"confusion": counts})
            payload = Door(site.config).let_out(release, {"confusion": counts.shape})
            ledger.commit(reservation, payload)
        else:
            payload = reservation.stored
        return {"evaluation": payload, **statement(site, ledger, study, request)}


_STAGES = {"enrol": enrol, "train": train, "evaluate": evaluate}


@contextmanager
def checked_ledger(site: Site, request: Request) -> Iterator[Ledger]:
    """Open the ledger; `LedgerError` where it lacks the head that it stated to the hub before."""
    known = request.header.known_head
    with site.ledger() as ledger:
        if known is not None:
            ledger.require_head(known.seq, known.hash)
        yield ledger


def training_mechanism(study: StudyConfig) -> Mechanism:
    """Return what one round of training spends, from the study's public numbers alone."""
    privacy = study.privacy
    if not privacy.enabled:
        return Unprotected()
    if privacy.noise_multiplier is None:
        raise Refusal(ErrorCode.BAD_REQUEST, "privacy.noise_multiplier is missing; the hub calibrates it")
    return PoissonGaussian(
        noise_multiplier=privacy.noise_multiplier,
        sample_rate=privacy.sample_rate,
        steps=study.federation.steps,
    )


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


def charge_weights(site: Site, ledger: Ledger, study: StudyConfig) -> None:
    """Charge, once a file, what the weights had spent on this hospital's patients when they came.

    Weights that the hospital does not list may hold anything of its patients: they end the guarantee for good.
    """
    for digest, spend in site.weights_spends(study).items():
        if isinstance(spend, Declared):
            ledger.record_declared(digest, spend.epsilon, spend.delta)
        else:
            ledger.record_unlisted(digest)


def reserve(
    site: Site, ledger: Ledger, request: Request, mechanism: Mechanism, partition: str
) -> Reservation:
    """Charge the ledger before any patient is sampled."""
    header = request.header
    key = RequestKey(study_uid=header.study_uid, round=header.round, kind=header.kind)
    return ledger.reserve(
        key,
        header.base_digest,
        mechanism,
        partition,
        site.config.cap,
        allow_without_privacy=site.config.allow_without_privacy,
    )


def statement(site: Site, ledger: Ledger, study: StudyConfig, request: Request) -> dict[str, bytes]:
    """State what was spent so far, where the hospital lets statements out."""
    if "ledger_statement" not in site.config.allow_releases:
        return {}
    stated = ledger.statement(
        study.privacy.delta,
        site=site.config.name,
        span=site.span,
        shown_cap=site.config.cap if site.config.show_cap else None,
    )
    release = Release(request.header.study_uid, request.header.round, stated)
    return {"ledger_statement": Door(site.config).let_out(release, None)}


def _refused(
    error: Exception, otherwise: ErrorCode, study_uid: str = _UNKNOWN_UID, number: int = 0
) -> dict[str, bytes]:
    code = error.code if isinstance(error, Refusal) else otherwise
    if isinstance(error, LedgerError):
        code = ErrorCode.LEDGER_STOPPED
    if isinstance(error, ApprovalsError):
        code = ErrorCode.APPROVALS_STOPPED
    log.error("refused with %s: %s", code, describe(error))
    return failure(code, study_uid, number)


def failure(code: ErrorCode, study_uid: str = _UNKNOWN_UID, number: int = 0) -> dict[str, bytes]:
    """Return an error release: a fixed code and nothing else."""
    return {"error": encode_release(Release(study_uid, number, ErrorRelease(code=code)))}


def _wait_until(started: float, reply_after_seconds: float | None) -> None:
    if reply_after_seconds is not None:
        time.sleep(max(0.0, started + reply_after_seconds - time.monotonic()))
