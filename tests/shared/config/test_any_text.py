"""Whatever stands in a table or a file of settings is read, counted or refused in our own words."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.config.files import read_site, read_study
from shared.config.site_data import SiteData
from shared.config.study import Task
from shared.data.hospital import HospitalPatients, read_hospital
from shared.data.sources import read_source
from shared.errors import ConfigError, DataError

TASK = Task(classes=("normal", "opacity"), image_size=32)
MANY = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
CELL = st.one_of(
    st.sampled_from(["a.png", "b.npz", "normal", "opacity", "", "train", "test", "0", "-1", "P1", "p1", "NaN", "1E+11",
                     '"', ";", "\t", "\0", "\r", "\u0663", "\ud800", "../x.png", "/", "a" * 300]),
    st.text(max_size=12),
)  # fmt: skip
LINE = st.lists(CELL, max_size=8).map(",".join)
HEADER = st.one_of(st.just("file,label,patient_id,split,index"), st.just("File;Label;PatientID"), LINE)
WORDS = st.sampled_from(
    ["name", "privacy", "epsilon", ": ", "\n", "  ", "- ", "[", "]", "{", "}", "&a ", "*a", "<<: ", "!!int ", "012",
     "1:30", "0x1F", "1_0", ".inf", "2027-02-30", "yes", "null", "'", '"', "|", ">", "# ", "---\n", "...\n", "? ",
     "%YAML 1.1\n", "\t"]
)  # fmt: skip


def hospital(path: Path) -> HospitalPatients | None:
    """Read as a hospital does; None where the table itself is refused."""
    with contextlib.suppress(DataError):
        return read_hospital(SiteData(source=path), TASK)
    return None


@MANY
@given(header=HEADER, lines=st.lists(LINE, max_size=6))
def test_any_table(tmp_path: Path, header: str, lines: list[str]) -> None:
    """A table of any cells is read or refused in one sentence, and a good line of somebody else stays as it is."""
    path = tmp_path / "m.csv"
    good = "file,label,patient_id,split,index"
    (tmp_path / "any.csv").write_text("\n".join([header, *lines]), encoding="utf-8", errors="surrogatepass")
    hospital(tmp_path / "any.csv")
    with contextlib.suppress(DataError):
        read_source(tmp_path / "any.csv", TASK)
    mine = "mine.png,normal,nobody else,train,"
    path.write_text("\n".join([good, *lines, mine]), encoding="utf-8", errors="surrogatepass")
    found = hospital(path)
    assert found is not None
    assert "nobody else" in [one.patient_id for one in found.patients]


@MANY
@given(data=st.binary(max_size=200))
def test_any_bytes_as_a_table(tmp_path: Path, data: bytes) -> None:
    """Bytes of any kind, too."""
    (tmp_path / "m.csv").write_bytes(data)
    hospital(tmp_path / "m.csv")


@MANY
@given(text=st.one_of(st.lists(WORDS, max_size=25).map("".join), st.text(max_size=60)))
def test_any_settings(tmp_path: Path, text: str) -> None:
    """A study and a site of any text are refused in one line, since none of these is whole."""
    path = tmp_path / "any.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    for read in (read_study, read_site):
        with pytest.raises(ConfigError) as refused:
            read(path)
        assert len(str(refused.value)) < 2000


@MANY
@given(data=st.binary(max_size=200))
def test_any_bytes_as_settings(tmp_path: Path, data: bytes) -> None:
    """Bytes of any kind, too."""
    (tmp_path / "any.yaml").write_bytes(data)
    with pytest.raises(ConfigError):
        read_study(tmp_path / "any.yaml")
