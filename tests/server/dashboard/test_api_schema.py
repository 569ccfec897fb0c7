"""The API tried with what its own description allows, and with what it does not (schemathesis)."""

from typing import Any

import pytest
import schemathesis
import sqlalchemy as sa
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import ignored_auth, negative_data_rejection, positive_data_acceptance

from server.dashboard.auth import tokens
from server.store.database import writing
from tests.dashboard_site import RUNNING, SMALL

EXAMPLES = 15
# every request here carries a token (test_api.py tries without), parameters that nobody reads are let pass, and NUL,
# which no database can search for, is refused though a string may hold it
EXCLUDED = [ignored_auth, negative_data_rejection, positive_data_acceptance]


@pytest.fixture
def bearer(engine: sa.Engine) -> dict[str, str]:
    """Return the headers of a client that holds a token."""
    with writing(engine).begin() as connection:
        token = tokens.new(connection, "schemathesis", 1)
    return {"host": "testserver", "authorization": f"Bearer {token}"}


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: str(mode.value))
def test_every_answer_is_as_described(app: FastAPI, bearer: dict[str, str], mode: Any) -> None:
    """No input, allowed or not, gives a 500, and each answer has a status, type and form that the description names."""
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", app, headers=bearer)
    operations = [one.ok() for one in schema.get_all_operations()]
    assert len(operations) >= 8
    for operation in operations:
        _try(operation, bearer, mode)


def _try(operation: Any, bearer: dict[str, str], mode: Any) -> None:
    studies = iter((SMALL, RUNNING) * EXAMPLES)

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    def asked(case: Any) -> None:
        if "study_uid" in (case.path_parameters or {}) and mode.value == "positive":
            case.path_parameters["study_uid"] = next(studies, SMALL)  # else nearly every answer is a 404
        case.call_and_validate(headers=bearer, excluded_checks=EXCLUDED)

    asked()
