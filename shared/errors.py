"""The errors of this system, and the fixed codes that may cross from a site to the hub.

A domain error carries one sentence for the person in front of it. Only an `ErrorCode` ever leaves a
hospital: never an exception's text, a path or an identifier.
"""

from enum import StrEnum


class RoundsError(Exception):
    """Root of every error that a person can act on: one sentence with field, value, allowed, what to do."""


class ConfigError(RoundsError):
    """A study, site or run setting is wrong."""


class DataError(RoundsError):
    """Images, labels, masks or manifests are wrong. Its text stays at the site."""


class WeightsError(RoundsError):
    """A weights file or message has the wrong digest, names, shapes, types or values."""


class UnsupportedLayerError(RoundsError):
    """A trainable layer has no per-patient gradient rule, or couples patients."""


class PrivacyError(RoundsError):
    """A privacy claim could not be kept, so the action is refused."""


class LedgerError(PrivacyError):
    """The ledger is damaged, behind its head file, or holds another answer for this request."""


class ApprovalsError(PrivacyError):
    """The hospital's record of its decisions is altered, cut or unsigned, or its key is not here."""


class TrustError(RoundsError):
    """A key, certificate, signature or fingerprint is not the one that was agreed on."""


class StudyError(RoundsError):
    """The study cannot go on: too few sites, a broken checkpoint, a foreign study."""


class DeviceError(RoundsError):
    """The GPU that `site.yaml` names has too little memory for the work."""


class ServiceError(RoundsError):
    """A process that should run does not, or does not answer."""


class StoreError(RoundsError):
    """The audit store cannot be opened, or was sent what it cannot keep."""


class ChainGapError(StoreError):
    """Records of a source are missing before the one that came."""


class ChainConflictError(StoreError):
    """A record differs from the one that stands in the store, or its hash is not that of its content."""


class ForeignStudyError(StoreError):
    """A record is of a study that another source has told of."""


class BlobMissingError(StoreError):
    """A record names a blob that is not in the store yet."""


class ErrorCode(StrEnum):
    """All that a site may say about a failure. Which code is sent never depends on patients."""

    NOT_READY = "not_ready"  # the site does not enrol; why is said locally only
    CODE_NOT_APPROVED = "code_not_approved"  # never approved by this hospital, or withdrawn
    STUDY_NOT_APPROVED = "study_not_approved"  # likewise
    STUDY_EXPIRED = "study_expired"
    BAD_REQUEST = "bad_request"  # malformed message, or weights refused before any data was read
    WEIGHTS_NOT_ACCEPTED = "weights_not_accepted"  # a digest that the hospital has not listed
    RELEASE_NOT_ALLOWED = "release_not_allowed"
    BUDGET_SPENT = "budget_spent"
    ENROLMENTS_SPENT = "enrolments_spent"  # this study was let look at the patients max_enrolments times
    DEADLINE_TOO_SHORT = (
        "deadline_too_short"  # the study's times are below the site's fixed time of answering
    )
    LEDGER_CONFLICT = "ledger_conflict"  # same request key, other base weights
    LEDGER_STOPPED = "ledger_stopped"  # damaged, or behind its head file
    APPROVALS_STOPPED = "approvals_stopped"  # the same of the hospital's record of its decisions
    DEVICE_MISSING = (
        "device_missing"  # the GPU that site.yaml names is not there, seen before data was touched
    )
    FAILED = "failed"  # everything that fails while touching data


class Refusal(RoundsError):  # noqa: N818 - the design's word for it
    """A site's refusal of one request: `code` crosses to the hub, the sentence stays at the site."""

    def __init__(self, code: ErrorCode, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
