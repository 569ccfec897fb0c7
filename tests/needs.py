"""What some tests need from the machine; where it is missing they say so and are skipped."""

import pytest

from server.services import nginx
from shared.errors import ConfigError


def _missing_nginx() -> str:
    try:
        nginx()
    except ConfigError as error:
        return str(error)
    return ""


NGINX = pytest.mark.skipif(bool(_missing_nginx()), reason=_missing_nginx() or "nginx is here")
