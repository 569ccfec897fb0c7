"""What a sender of records holds: where the hub is, which CA makes it the hub, and its own certificate and key.

In: one JSON file that the hub made, for one run. Out: a checked value. The file holds a private key: whoever has it may
add records to that run's chain, and do nothing else.
"""

from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, ValidationError

from shared.config.values import Frozen
from shared.errors import ConfigError
from shared.trust.private_files import write_file

RUN_NAME: Final = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$"
FOLDER_VARIABLE: Final = (
    "ROUNDS_FEED"  # names a folder with one `NAME.json` a run; `rounds-hub serve` sets it
)


class Credential(Frozen):
    """All that is needed to send the records of one run; `run` is the name of its output folder."""

    run: Annotated[str, Field(pattern=RUN_NAME)]
    address: str
    hub_ca: str
    certificate: str
    key: str = Field(repr=False)

    def write(self, path: Path) -> Path:
        """Write the file for one account only, whole or not at all, in place of an older one."""
        return write_file(path, self.model_dump_json(indent=1).encode() + b"\n", replace=True)


def read_credential(path: Path) -> Credential:
    """Read what the hub made; `ConfigError` where it is missing or damaged."""
    try:
        return Credential.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ConfigError(
            f"feed file {path.name}: is missing or damaged; make it by `rounds-hub feed certificate RUN` at the hub"
        ) from error
