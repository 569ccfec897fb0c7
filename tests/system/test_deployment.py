"""A deployed federation in real processes: hub behind nginx, sites that dial it, TLS, node keys, signed code.

One of the three sites reads DICOM. One deployment runs two studies: one undisturbed, and one in which that site's node
and then the hub's SuperLink are killed hard. `python -m tests.system.kill_matrix` kills every process at every stage.
"""

import http.client
import json
import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor, SuperExecAuthHttpInterceptor
from flwr.supercore.runtime.runtime_http_client import RuntimeHttpClient

from client.identity.site_folder import SITE_FILE
from deploy.simulation.phantoms import STYLES, SitePlan
from server.feed.sender_certificates import hub_senders
from server.flower.run_control import Control
from server.runs.run_folder import read_lines
from server.services.services import FEED, SUPERLINK
from server.store.database import open_store
from server.store.intake.outbox import Outbox
from server.store.schema import RECORDS
from server.studies.resolved_study import asked_study
from server.studies.submissions import SubmittedStudy
from shared.config.files import parse_site, read_yaml, write_yaml
from tests.conftest import SITES
from tests.dicom_files import PLANTED, dicom_hospital
from tests.needs import NGINX
from tests.phi import contents, where_found
from tests.system.deployed import Deployment, deployed, wait_until
from tests.system.kill_table import students

pytestmark = NGINX

SECONDS = 600  # a limit: an idle machine needs 40, one with a load of 20 on two cores needed 250
ON_DICOM = "film"
CONTROL = (
    "/v1/control/start-run",
    "/v1/control/list-runs",
    "/v1/control/list-nodes",
    "/v1/runtime/acquire-task",
)
Charges = dict[str, list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Write DICOM files with planted identifiers; returns `data` of their site's site.yaml."""
    return dicom_hospital(
        tmp_path_factory.mktemp("films"), SitePlan(ON_DICOM, {"train": 12}, STYLES[ON_DICOM])
    )


@pytest.fixture(scope="module")
def deployment(
    tiny_federation: Any, films: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("deployment")
    rules = {ON_DICOM: {"data": films, "declared_patients": 12}}
    with deployed(folder, tiny_federation.workspace, SITES, {}, rules=rules) as running:
        yield running


@pytest.fixture(scope="module")
def undisturbed(deployment: Deployment) -> SubmittedStudy:
    """Run one study with nothing in its way."""
    study = deployment.submit()
    assert deployment.finish(study, SECONDS) == "completed", study.read().why
    return study


def charges(deployment: Deployment, study: SubmittedStudy) -> Charges:
    """Return what each site's ledger charged for a study."""
    uid = deployment.study_uid(study)
    return {name: deployment.charged(name, uid) for name in SITES}


def test_a_study_runs_to_completion(deployment: Deployment, undisturbed: SubmittedStudy) -> None:
    """Every site answers every round over the door, and the command line says so by its exit status."""
    accepted = [(line["round"], line["site"]) for line in deployment.events(undisturbed, "answered")
                if line["outcome"] == "accepted"]  # fmt: skip
    assert sorted(accepted) == [(number, site) for number in (1, 2) for site in SITES]
    status = deployment.command(
        "server.main", "study", "status", undisturbed.path.name, "--hub", str(deployment.hub.path)
    )
    assert status.returncode == 0
    assert "completed" in status.stdout


def test_the_site_on_dicom_takes_part_in_every_round(
    deployment: Deployment, undisturbed: SubmittedStudy
) -> None:
    """Its updates are in both rounds, its ledger charges both, and DICOM files are all that its site.yaml names."""
    rounds = [line for line in read_lines(undisturbed.folder.rounds) if line["round"]]
    assert [ON_DICOM in line["answered"] for line in rounds] == [True, True]
    charged = charges(deployment, undisturbed)[ON_DICOM]
    assert sorted({row[:2] for row in charged}) == [(1, "train"), (2, "train")]
    data = parse_site(read_yaml(deployment.folder / ON_DICOM / SITE_FILE)).data
    assert data.dicom is not None
    assert {path.suffix for path in data.source.rglob("*") if path.is_file()} == {".dcm", ".csv"}


CHECKED = (  # every question of `rounds-site check` that a joined site with approved code and study is asked
    "approval", "code", "expiry", "teacher", "initial student", "sample rate", "delta", "releases", "label map", "data",
    "images", "masks", "declared", "device", "threads", "memory", "target cache", "ledger", "budget", "node key",
    "approval key", "federation", "enrolment", "proxy", "name", "connection", "CA", "TLS", "hub certificate", "health",
    "clock", "key",
)  # fmt: skip


def test_the_check_of_a_site_asks_everything(
    deployment: Deployment, undisturbed: SubmittedStudy, tmp_path: Path
) -> None:
    """From data to the key that the hub admitted, each on a line, none of which fails; exit status and JSON say so."""
    write_yaml(tmp_path / "study.yaml", asked_study(deployment.workspace / "study.yaml", deployment.settings))
    site_file = deployment.folder / SITES[0] / SITE_FILE
    done = deployment.command("client.main", "check", str(site_file), str(tmp_path / "study.yaml"), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    marks: dict[str, set[str]] = {}
    for line in json.loads(done.stdout)["findings"]:
        marks.setdefault(line["what"], set()).add(line["mark"])
    assert set(CHECKED) <= marks.keys()
    sure = {
        "approval",
        "data",
        "device",
        "connection",
        "TLS",
        "health",
        "clock",
        "key",
        "enrolment",
    }
    assert {what: marks[what] for what in sure} == {what: {"ok"} for what in sure}
    assert marks["ledger"] == {"ok", "warn"}  # the tests keep its head on the same volume
    assert undisturbed.read().state == "completed"


@pytest.mark.parametrize("path", CONTROL)
def test_a_site_cannot_reach_the_control_api(deployment: Deployment, path: str) -> None:
    """From where sites are, with the CA that they have, Control and Runtime API are a 404; they are there inside."""
    context = ssl.create_default_context(cafile=str(deployment.hub.ca_file))
    told = []
    for address in (deployment.address, f"127.0.0.1:{deployment.superlink_port}"):
        connection = http.client.HTTPSConnection(address, context=context, timeout=10)
        connection.request("POST", path, b"")
        told.append(connection.getresponse().status)
        connection.close()
    assert told[0] == 404
    assert told[1] != 404


def test_a_second_aggregator_gets_no_task(deployment: Deployment, undisturbed: SubmittedStudy) -> None:
    """Past the proxy and with the CA, nobody may even ask for a study's task without the hub's secret."""
    assert undisturbed.read().state == "completed"  # so that no task is waiting, and this takes none
    secret = (deployment.hub.path / "secrets" / "superexec.secret").read_bytes().strip()
    asked = [acquire_task(deployment, key) for key in (None, b"a secret that a thief has made up", secret)]
    assert asked == [401, 401, 200]


def acquire_task(deployment: Deployment, secret: bytes | None) -> int:
    """Ask the SuperLink for a task as Flower's SuperExec does, signed with `secret`; returns the HTTP status."""
    interceptors: list[Any] = [RuntimeVersionHttpInterceptor(component_name="SuperExec")]
    if secret is not None:
        interceptors.append(
            SuperExecAuthHttpInterceptor(
                master_secret=secret, protected_methods=["/flwr.proto.Runtime/AcquireTask"]
            )
        )
    client = RuntimeHttpClient.from_server_address(
        server_address=f"127.0.0.1:{deployment.superlink_port}",
        insecure=False,
        root_certificates=deployment.hub.ca_file.read_bytes(),
        interceptors=interceptors,
    )
    try:
        client.AcquireTask(AcquireTaskRequest(supported_task_types=["flwr-serverapp"]))
    except httpx.HTTPStatusError as refused:
        return refused.response.status_code
    finally:
        client.close()
    return 200


def test_the_hubs_store_has_what_the_study_wrote(deployment: Deployment, undisturbed: SubmittedStudy) -> None:
    """The study's own process has sent its records by the feed, under the name of its folder: each one, in order."""
    assert stored(deployment, undisturbed) == chains(undisturbed)
    kinds = {record.kind for record in Outbox(undisturbed.path).after(0, 1000)}
    assert kinds >= {"study", "site", "round", "release", "statement", "status"}
    assert undisturbed.path.name in hub_senders(deployment.hub).listed()


def stored(deployment: Deployment, study: SubmittedStudy) -> list[str]:
    """Return the hashes of a study's records in the hub's store, once they are all there."""
    wait_until(
        lambda: len(kept(deployment, study)) >= len(chains(study)), 60, "the study's records in the store"
    )
    return kept(deployment, study)


def kept(deployment: Deployment, study: SubmittedStudy) -> list[str]:
    store = open_store(deployment.hub.own_store, must_exist=True)
    with store.connect() as connection:
        query = sa.select(RECORDS.c.chain).where(RECORDS.c.source == f"study/{study.path.name}")
        found = list(connection.execute(query.order_by(RECORDS.c.id)).scalars())
    store.dispose()
    return found


def chains(study: SubmittedStudy) -> list[str]:
    return [record.chain for record in Outbox(study.path).after(0, 10_000)]


@pytest.fixture(scope="module")
def snapshot(deployment: Deployment, undisturbed: SubmittedStudy) -> Path:
    """Copy the volume of the site on DICOM as it is after the first study."""
    assert undisturbed.read().state == "completed"  # so that nothing is written to it now
    return shutil.copytree(deployment.site(ON_DICOM).state_dir, deployment.folder / "snapshot")


@pytest.mark.usefixtures("snapshot")
def test_kills_lose_nothing_and_charge_nothing_twice(
    deployment: Deployment, tiny_federation: Any, undisturbed: SubmittedStudy
) -> None:
    """A node and the feed killed in round 1, the SuperLink in round 2: one study_uid, the same spend, all records.

    The student is the one that the updates make which the sites' ledgers stored, bit for bit.
    """
    study = deployment.submit()
    wait_until(lambda: deployment.events(study, "round_started"), SECONDS, "round 1")
    control = Control(f"127.0.0.1:{deployment.superlink_port}", deployment.hub.ca_file)
    assert control.going_on(str(study.path.resolve())) == study.read().runs[-1].run_id
    assert control.going_on(str(undisturbed.path.resolve())) is None  # it has ended
    deployment.kill("film node")
    deployment.kill(FEED)
    wait_until(lambda: len(deployment.events(study, "round_started")) > 1, SECONDS, "round 2")
    deployment.kill(SUPERLINK)
    assert deployment.finish(study, SECONDS) == "completed", study.read().why
    assert deployment.study_uid(study) != deployment.study_uid(undisturbed)
    assert charges(deployment, study) == charges(deployment, undisturbed)
    assert stored(deployment, study) == chains(study)
    assert all(
        len(rows) == 4 for rows in charges(deployment, study).values()
    )  # reserve and commit, two rounds
    student, from_ledgers, wrong = students(deployment, study, tiny_federation)
    assert (student, wrong) == (from_ledgers, "")


def test_nothing_is_left_after_the_end(deployment: Deployment) -> None:
    """No zombie and no stray while they run, no process after SIGTERM; this ends the deployment of the tests before."""
    wait_until(lambda: deployment.zombies() == [], 30, "the burial of what ended")
    wait_until(lambda: deployment.strays() == [], 30, "the end of what nobody keeps")
    deployment.end()
    assert deployment.left() == []


def test_no_planted_value_of_the_films_is_found_anywhere(
    deployment: Deployment, films: dict[str, Any], undisturbed: SubmittedStudy
) -> None:
    """Ledgers, caches, logs, the SuperLink's messages and the study's records hold nothing of a DICOM header."""
    assert undisturbed.read().state == "completed"
    deployment.end()  # so that no file changes while it is searched
    places = dict(contents([deployment.folder]))
    for needed in (
        "superlink/state.sqlite",
        "film/state/ledger.sqlite",
        "film/state/targets.sqlite",
        "film.log",
    ):
        assert any(name.endswith(needed) for name in places), needed
    values = {*PLANTED, "PLANTED-"}
    assert where_found(values, places) == []
    assert (
        len(where_found(values, dict(contents([Path(films["source"])])))) > 50
    )  # the search finds what is there


def test_a_restored_snapshot_of_a_site_s_volume_stops_it(deployment: Deployment, snapshot: Path) -> None:
    """Put back to the day before the second study, the site's container ends at once, in one sentence, every time."""
    deployment.end()
    state = deployment.site(ON_DICOM).state_dir
    shutil.rmtree(state)
    shutil.copytree(snapshot, state)
    for _ in range(2):
        done = deployment.command("client.main", "run", str(deployment.folder / ON_DICOM / SITE_FILE))
        assert done.returncode == 1
        assert "it was restored or cut; put back the ledger as it was last" in done.stderr
    assert deployment.left() == []
