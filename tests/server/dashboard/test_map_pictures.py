import io
import re
from html import unescape

import numpy as np
import sqlalchemy as sa
from PIL import Image

from server.dashboard.maps import colours
from server.store.record_kinds import EVERY, Grid, MapBody
from server.store.schema import IMAGES, MAPS
from tests.audit_records import small_study
from tests.audit_site_maps import LABEL
from tests.dashboard_maps import colour_at, figure_of, squares
from tests.dashboard_site import SMALL, Ask, Open

AT = f"/studies/{SMALL}/explanations"
HTMX = {"hx-request": "true"}


def test_equal_values_have_equal_colours_on_every_map_of_the_page(open_page: Open) -> None:
    """Teacher, student, mask, sources, rounds and sites: 2.5 in one cell has one colour in all 13 squares."""
    random, entries = np.random.default_rng(5), small_study()

    def grid() -> Grid:
        values = random.gamma(2, 0.5, (7, 7)) * random.uniform(0.5, 2)
        values[3, 3] = 2.5
        flat = values.ravel()
        return Grid(rows=7, columns=7, values=tuple(flat), low=tuple(flat - 1e-3), high=tuple(flat + 1e-3))

    def add(subject: str, source: str = EVERY, **other: object) -> None:
        body = {"subject": subject, "label": LABEL, "source": source, "num_images": 400, "num_patients": 400}
        entries.append((MapBody.model_validate(body | {"grid": grid().model_dump()} | other), ()))

    for source in (EVERY, "bedside", "film"):
        for subject in ("teacher", "explainer", "student"):
            add(subject, source)
    add("student", round=8)
    for site in ("bedside", "film"):
        add("student", site, site_release=True, noise_std=1e-4, epsilon=1.0)
    client = open_page(entries)
    text = client.get(f"{AT}?label={LABEL}").text
    found = squares(client, figure_of(text, "Student’s map, opacity"))[1:]
    by_source = squares(client, figure_of(text, "Teacher, mask and student"))
    found += by_source[0:3] + by_source[5:8] + by_source[15:18]
    found += squares(client, figure_of(text, "Student’s map after round 8"))[:1]
    by_site = squares(client, figure_of(text, "Maps by hospital"))
    found += [by_site[1], by_site[3]]
    expected = colours.over(np.array([2.5]))[0].tolist()
    seen = [colour_at(one, 3, 3) for one in found]
    print(f"{len(seen)} squares, colours {[list(map(int, one)) for one in {tuple(one) for one in seen}]}")
    assert len(seen) == 13
    assert all(one == expected for one in seen)


def test_pictures_are_kept_for_ever_by_what_they_show(ask: Ask) -> None:
    """Immutable, with an ETag that answers 304; only for readers; and an address that was made up is 404."""
    client = ask("viewer")
    text = client.get(f"{AT}?label=opacity").text
    addresses = sorted(set(re.findall(r'"(/studies/[^"]+\.png[^"]*)"', text)))
    assert any("/maps/" in one for one in addresses)
    assert any("/films/" in one for one in addresses)
    for one in map(unescape, addresses):
        answer = client.get(one)
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
        again = client.get(one, headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert ask().get(one).status_code in {303, 401}
    sheet = next(unescape(one) for one in addresses if "/maps/" in one)
    made_up = re.sub(r"[0-9a-f]{64}", "0" * 64, sheet)
    assert client.get(made_up).status_code == 404
    assert client.get(sheet.replace("label=opacity", "label=none")).status_code == 200  # known by its digest
    assert client.get(f"/studies/{SMALL}/films/{'0' * 64}.png").status_code == 404


def test_weights_are_no_film(ask: Ask, engine: sa.Engine) -> None:
    """Only blobs that a film or an image names are served as films."""
    with engine.connect() as connection:
        weights = connection.execute(sa.text("SELECT weights FROM models")).scalar_one()
        region = (
            connection.execute(sa.select(IMAGES.c.region).where(IMAGES.c.region.is_not(None)))
            .scalars()
            .first()
        )
    client = ask("viewer")
    for digest in (weights, region):
        assert client.get(f"/studies/{SMALL}/films/{digest}.png").status_code == 404


def test_one_recorded_map_is_a_picture_in_each_style(ask: Ask, engine: sa.Engine) -> None:
    """By the digest of its record: film, map alone, and the map over the film, which is the page's own composition."""
    with engine.connect() as connection:
        digest = connection.execute(
            sa.select(MAPS.c.digest).where(
                MAPS.c.study_uid == SMALL, MAPS.c.subject == "student", MAPS.c.label == "opacity",
                MAPS.c.from_source == EVERY, MAPS.c.round.is_(None),
            )
        ).scalar_one()  # fmt: skip
    client = ask("viewer")
    film, alone, overlay = (
        np.asarray(
            Image.open(io.BytesIO(client.get(f"/maps/{digest}.png?style={style}").content)).convert("RGBA")
        )
        for style in ("film", "alone", "overlay")
    )
    layer = squares(client, figure_of(client.get(f"{AT}?label=opacity").text, "Student’s map, opacity"))[1]
    composed = np.asarray(Image.alpha_composite(Image.fromarray(film), Image.fromarray(layer)))
    assert abs(composed.astype(int) - overlay).max() <= 1
    assert (alone[..., 3] == 255).all()
    assert client.get(f"/maps/{'0' * 64}.png").status_code == 404
