"""A hub and a site as their people made them, and the commands that they type most, for tests and benchmarks."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from client.site.site_rules import SiteRules
from server.studies.submissions import Submission, SubmittedStudy
from shared.config.files import read_site
from shared.trust.site_introduction import read_introduction
from tests.system.founded import REPOSITORY, found_hub, found_site


@dataclass(frozen=True)
class Typed:
    """A command as it is typed, with names for what `made` returns, and the status with which it ends."""

    line: str
    status: int = 0

    @property
    def program(self) -> str:
        """rounds-hub or rounds-site."""
        return self.line.split()[0]

    def words(self, made: dict[str, str]) -> list[str]:
        """Return what follows the program."""
        return [word.format(**made) for word in self.line.split()[1:]]


# the ten commonest first; nothing runs at this hub and this site, so that `healthy` ends with 1
COMMANDS = (
    Typed("rounds-hub --help"),
    Typed("rounds-hub study status --hub {at}/hub", status=3),
    Typed("rounds-hub sites --hub {at}/hub"),
    Typed("rounds-hub code list --hub {at}/hub"),
    Typed("rounds-hub runs {at}/results"),
    Typed("rounds-site --help"),
    Typed("rounds-site keys show {at}/north/site.yaml"),
    Typed("rounds-site code show {at}/app.fab --site {at}/north/site.yaml"),
    Typed("rounds-site study approve {at}/study.yaml --site {at}/north/site.yaml"),
    Typed("rounds-site ledger show {at}/north/site.yaml"),
    Typed("rounds-hub init {at}/{new}-hub --name new --address 127.0.0.1:8443 --ip 127.0.0.1"),
    Typed("rounds-hub invite --hub {at}/hub"),
    Typed("rounds-hub admit {at}/north/north.pub --hub {at}/hub --fingerprint {north}"),
    Typed("rounds-hub healthy {at}/hub", status=1),
    Typed("rounds-site init {at}/{new}-site --name east"),
    Typed("rounds-site join {at}/hub/FEDERATION.json --site {at}/north/site.yaml --fingerprint {hub}"),
    Typed("rounds-site code list --site {at}/north/site.yaml"),
    Typed("rounds-site code approve {at}/app.fab --site {at}/north/site.yaml"),
    Typed("rounds-site healthy {at}/north/site.yaml", status=1),
)
ACCOUNTING = Typed(
    "rounds-site study show {at}/study.yaml --site {at}/north/site.yaml"
)  # asks both accountants


def made(folder: Path) -> dict[str, str]:
    """Make a hub, an admitted site with a ledger, a submitted study and an unfinished run; returns what lines name."""
    hub, registry, bundle = found_hub(folder / "hub", "127.0.0.1:8443", ())
    rules = {
        "name": "north",
        "data": {"source": str(folder / "data")},
        "declared_patients": 100,
        "weights_dir": str(folder / "weights"),
    }
    found_site(folder / "north", rules, hub, "127.0.0.1:8443", registry, bundle)
    with SiteRules(read_site(folder / "north" / "site.yaml")).ledger() as ledger:
        ledger.reserve_enrolment("a" * 32, 0, "b" * 64, 3)
    shutil.copy(REPOSITORY / "deploy" / "studies" / "phantoms.yaml", folder / "study.yaml")
    submitted = SubmittedStudy(folder / "hub" / "studies" / "phantoms-1")
    submitted.path.mkdir(parents=True)
    submitted.write(
        Submission(workspace=folder, app="@teaching-rounds/teaching-rounds==0.1.0", study="0" * 64)
    )
    run = folder / "results" / "flwr-run"
    run.mkdir(parents=True)
    shutil.copy(folder / "study.yaml", run)
    fingerprint = read_introduction(folder / "north" / "north.pub").fingerprint()
    return {"at": str(folder), "new": "new", "hub": hub.invitation().fingerprint, "north": fingerprint}
