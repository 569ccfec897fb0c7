"""What the version before this one left still opens: a store, and a run's folder.

`tests/fixtures` holds the small study's store under its first revision, and the files of a whole demo (phantoms,
seed 0), both as that version wrote them.
"""

import lzma
import tarfile
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from server.cli.program import app
from server.dashboard.views.model import checks_of
from server.report.html_report import write_report
from server.runs.summary import read_summary
from server.store.database import open_store
from server.store.migrate import version_of
from server.store.schema import RECORDS, STUDIES
from server.store.verification.verify import verify
from shared.config.files import read_study
from tests.audit_records import SMALL_UID

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Unpack the run's folder."""
    with tarfile.open(FIXTURES / "run_of_before.tar.xz") as packed:
        packed.extractall(tmp_path, filter="data")
    return tmp_path / "run"


def test_a_store_of_before_is_brought_up_to_date_and_whole(tmp_path: Path) -> None:
    """Its records are those that they were, its chains hold, its verdict and limits are shown."""
    file = tmp_path / "store.sqlite"
    file.write_bytes(lzma.decompress((FIXTURES / "store_0001.sqlite.xz").read_bytes()))
    plain = sa.create_engine(f"sqlite:///{file}")
    with plain.connect() as connection:
        assert version_of(connection) == "0001"
        before = connection.execute(sa.select(RECORDS.c.seal).order_by(RECORDS.c.id)).scalars().all()
    plain.dispose()
    engine = open_store(file)
    with engine.connect() as connection:
        assert version_of(connection) == "0002"
        assert connection.execute(sa.select(RECORDS.c.seal).order_by(RECORDS.c.id)).scalars().all() == before
        assert connection.execute(sa.select(STUDIES.c.verdict)).scalar_one() == "accepted"
        limits = {one.name: one.limit for one in checks_of(connection, SMALL_UID)}
    assert len(before) == 208
    assert limits == {
        "finite numbers": "–", "test AUC": "0.75", "energy in the region": "1", "mask area": "0.95",
    }  # fmt: skip
    assert verify(engine).findings == ()
    engine.dispose()


def test_a_run_of_before_is_listed_and_reported(run: Path) -> None:
    """Its study has the digest that hospitals approved, its summary reads, `runs` lists it, a report is made of it."""
    assert (
        read_study(run / "study.yaml").digest()
        == "84da4630e7ad922dd7a2623da688ca0be1558c6a14bef15f517ed3f49179ab5b"
    )
    summary = read_summary(run)
    assert (summary.status, summary.verdict) == ("completed", "accepted")
    listed = CliRunner().invoke(app, ["runs", str(run.parent)])
    assert listed.exit_code == 0, listed.output
    assert "accepted" in listed.output
    assert 'id="verdict"' in write_report(run, summary).read_text(encoding="utf-8")
