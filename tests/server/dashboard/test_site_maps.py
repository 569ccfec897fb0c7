import re

import sqlalchemy as sa

from server.dashboard.auth import tokens
from server.store.database import writing
from server.store.schema import MAPS
from tests.audit_site_maps import LABEL, NOISE, PATIENTS, SECRET, TOO_FEW, study_with_site_maps
from tests.dashboard_maps import colour_at, figure_of, squares
from tests.dashboard_site import SMALL, Open

AT = f"/studies/{SMALL}/explanations"
HTMX = {"hx-request": "true"}


def test_a_site_below_the_minimum_is_a_name_and_no_number(open_page: Open) -> None:
    """Not in HTML, picture, CSV or alternative text; and all sites together are made without it."""
    client = open_page(study_with_site_maps())
    page = client.get(f"{AT}?label={LABEL}")
    csv = client.get(f"{AT}.csv?label={LABEL}")
    assert page.status_code == csv.status_code == 200
    few = PATIENTS[TOO_FEW]
    for text in (page.text, csv.text):
        assert TOO_FEW in text
        assert "too few to say" in text
        assert f"{SECRET:.2f}" not in text
        assert str(SECRET) not in text
        assert f"{few} patients" not in text
        assert f"{NOISE / few:.2f}" not in text
    told = [line for line in csv.text.splitlines() if TOO_FEW in line]
    assert len(told) == 1
    assert not re.search(r"\d", told[0])
    assert f">{sum(PATIENTS.values()) - few} patients<" in page.text
    blank = squares(client, figure_of(page.text, "Maps by hospital"))
    assert len(blank) == 9  # the pool, and two for each of four sites: none for the one below the minimum


def test_a_silent_site_has_no_picture_of_its_own(open_page: Open) -> None:
    """Whoever knows the digest of its record is told that there is none."""
    client = open_page(study_with_site_maps())
    engine: sa.Engine = client.app.state.engine  # type: ignore[attr-defined]
    with engine.connect() as connection:
        rows = connection.execute(
            sa.select(MAPS.c.from_source, MAPS.c.digest).where(MAPS.c.site_release)
        ).all()
    digests = {row.from_source: row.digest for row in rows}
    assert {
        site: client.get(f"/maps/{digest}.png?style=alone").status_code for site, digest in digests.items()
    } == {site: 404 if site == TOO_FEW else 200 for site in PATIENTS}


def test_only_the_site_that_differs_is_shown_as_different(open_page: Open) -> None:
    """One hospital's films have a marker in a corner: that cell is orange there, and orange nowhere else."""
    client = open_page(study_with_site_maps())
    text = client.get(f"{AT}?label={LABEL}").text
    row = re.search(
        r'<th scope="row">processed</th>(.*?)</tr>', figure_of(text, "Maps by hospital"), re.DOTALL
    )
    assert row is not None
    assert "more lower left" in row[1]
    found = squares(client, figure_of(text, "Maps by hospital"))
    corner = {
        site: colour_at(found[2 * index + 2], 6, 0)
        for index, site in enumerate(sorted(set(PATIENTS) - {TOO_FEW}))
    }
    assert [site for site, (red, _, blue, _) in corner.items() if int(red) - int(blue) > 60] == ["processed"]


def test_programs_read_no_number_of_a_silent_site_either(open_page: Open) -> None:
    """The JSON of its map has the site's name and nothing to count; the others have their cells."""
    client = open_page(study_with_site_maps())
    with writing(client.app.state.engine).begin() as connection:  # type: ignore[attr-defined]
        token = tokens.new(connection, "monitoring", 90)
    answer = client.get(
        f"/api/v1/studies/{SMALL}/maps?label={LABEL}&size=500", headers={"authorization": f"Bearer {token}"}
    )
    released = {one["source"]: one for one in answer.json()["items"] if one["site_release"]}
    assert str(SECRET) not in answer.text
    assert set(released) == set(PATIENTS)
    numbers = ("grid", "num_images", "num_patients", "num_without_evidence", "noise_std", "epsilon")
    for site, one in released.items():
        assert one["too_few"] is (site == TOO_FEW)
        assert all((one[name] is None) is (site == TOO_FEW) for name in numbers)
