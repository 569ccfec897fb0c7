"""The ClientApp: translates between Flower's messages and `client/rounds/answer.py`, and nothing else.

A handler never raises: whatever happens becomes a release with a fixed code, because Flower would send the
text of an exception to the server.
"""

import logging
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from client.rounds.answer import answer, failure
from client.site.site import Site
from client.site.site_rules import describe
from shared.config.files import parse_site, read_site, read_site_yaml
from shared.errors import ConfigError, ErrorCode
from shared.messages.release_kinds import KEPT_SIMULATION, THIS_RUN_ALONE
from shared.messages.stages import STAGES

log = logging.getLogger("rounds.site")
app = ClientApp()
PAYLOAD = "payload"


def site_of(context: Context) -> Site:
    """Open the site this process answers for.

    A real node names its own site file in its node configuration, and the hub cannot change that. A simulated
    node has a number only, and takes the site file of that number in the prepared workspace.
    """
    node = context.node_config
    if "site-config" in node:
        path = Path(str(node["site-config"]))
        config = read_site(path)
        if config.approved_studies == "any-in-simulation":
            raise ConfigError(
                f"{path.name}: approved_studies is 'any-in-simulation', a real site lists study digests"
            )
        return Site(config)
    run = context.run_config
    files = sorted((Path(str(run["workspace"])) / "sites").glob("*.yaml"))
    number = int(node["partition-id"])
    if number >= len(files):
        raise ConfigError(
            f"partition-id is {number}: the workspace holds {len(files)} sites; start as many nodes"
        )
    raw = read_site_yaml(files[number])
    state = str(run["site-state"]) or str(Path(str(run["output"])) / "sites")
    raw |= {
        "state_dir": str(Path(state) / str(raw["name"])),
        "head_file": str(Path(state) / "heads" / f"{raw['name']}.head"),
    }
    return Site(
        parse_site(raw, files[number].name),
        span=KEPT_SIMULATION if str(run["site-state"]) else THIS_RUN_ALONE,
    )


def _reply(message: Message, context: Context) -> Message:
    try:
        site = site_of(context)
        record = next(iter(message.content.array_records[PAYLOAD].values()))
        parts = answer(site, record.numpy().tobytes())
    except Exception as error:  # noqa: BLE001 - no exception may cross: Flower would send its text
        log.error("the request could not be read: %s", describe(error))
        parts = failure(ErrorCode.BAD_REQUEST)
    records = {name: ArrayRecord([np.frombuffer(part, np.uint8)]) for name, part in parts.items()}
    return Message(RecordDict(dict(records)), reply_to=message)


for stage in STAGES.values():
    category, _, action = stage.message_type.partition(".")
    getattr(app, category)(action or "default")(_reply)
