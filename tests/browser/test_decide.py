"""People at work: logging in, being refused, deciding, and taking the audit along, by mouse and by keyboard."""

from pathlib import Path

from playwright.sync_api import Browser, expect

from server.store.append import append_own
from server.store.database import open_store, writing
from server.store.record_kinds import EventBody
from tests.browser.conftest import Site
from tests.chromium import Reader


def test_a_wrong_password_is_refused_in_one_sentence(reader: Reader) -> None:
    """The page stays, says so, and shows nothing else."""
    reader.log_in("viewer", "not the password")
    expect(reader.page.get_by_role("alert")).to_be_visible()
    expect(reader.page).to_have_url(f"{reader.address}/login")


def test_nobody_sees_a_study_without_a_login(reader: Reader, site: Site) -> None:
    """Every page leads to the login, and back after it."""
    reader.see(f"/studies/{site.finished}/privacy")
    expect(reader.page.get_by_role("heading", name="Log in")).to_be_visible()
    reader.page.get_by_label("Name").fill("viewer")
    reader.page.get_by_label("Password").fill("a long sentence for a test")
    reader.page.get_by_role("button", name="Log in").click()
    expect(reader.page).to_have_url(f"{reader.address}/studies/{site.finished}/privacy")


def test_a_viewer_is_offered_no_decision_and_no_accounts(reader: Reader, site: Site) -> None:
    """Neither form nor page is there for a viewer."""
    reader.log_in("viewer")
    page = reader.see(f"/studies/{site.finished}/model")
    assert page.get_by_role("button", name="Record the decision").count() == 0
    answer = page.goto(f"{reader.address}/people")
    assert answer is not None
    assert answer.status == 403


def test_an_auditor_decides_by_keyboard_alone(reader: Reader, site: Site) -> None:
    """Own view first, then hold with a reason, then withdraw: Tab, arrows, Space and Enter do it all."""
    reader.log_in("auditor")
    page = reader.see(f"/studies/{site.finished}/model")
    expect(page.get_by_text("hidden until your own view")).to_be_visible()
    page.get_by_label("undecided").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="The decision of a person")).to_be_visible()
    page.get_by_role("radio", name="hold").focus()
    page.keyboard.press("Space")
    page.get_by_label("Reason").focus()
    page.keyboard.type("the maps are not convincing yet")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("auditor decided to hold it", exact=False).first).to_be_visible()
    expect(page.get_by_text("the maps are not convincing yet").first).to_be_visible()


def test_an_accepted_student_can_be_taken_and_no_other(reader: Reader, site: Site) -> None:
    """The coordinator accepts what the gate accepted, the button appears, and the file is whole."""
    reader.log_in("coordinator")
    page = reader.see(f"/studies/{site.finished}/model")
    if page.get_by_role("button", name="Record my view").count():
        page.get_by_label("accept: it may be used").check()
        page.get_by_role("button", name="Record my view").click()
    accept = page.get_by_role("radio", name="accept", exact=True)
    if accept.is_disabled():  # a real run whose student the gate holds: nobody may take it
        assert page.get_by_role("link", name="Download the accepted student").count() == 0
        return
    accept.check()
    page.get_by_label("Reason").fill("figures, maps and privacy are as the study asked")
    page.get_by_role("button", name="Record the decision").click()
    with page.expect_download() as taken:
        page.get_by_role("link", name="Download the accepted student").click()
    assert Path(taken.value.path()).stat().st_size > 0


def test_the_exported_file_opens_from_disk_and_asks_nobody(
    reader: Reader, site: Site, browser: Browser, tmp_path: Path
) -> None:
    """Opened as a file it makes no request at all, breaks no policy, and shows the same figures."""
    reader.log_in("viewer")
    page = reader.see(f"/studies/{site.finished}")
    with page.expect_download() as taken:
        page.get_by_role("link", name="The whole audit of this study as one file").click()
    file = tmp_path / "audit.html"
    taken.value.save_as(file)
    alone = browser.new_context(offline=True)
    try:
        opened = alone.new_page()
        asked: list[str] = []
        complaints: list[str] = []
        opened.on("request", lambda one: asked.append(one.url))
        opened.on("console", lambda said: complaints.append(said.text))
        opened.goto(file.as_uri())
        assert [url for url in asked if not url.startswith(("data:", file.as_uri()))] == []
        assert complaints == []
        assert opened.locator("figure.chart").count() >= 5
        broken = opened.evaluate("() => [...document.images].filter(one => !one.naturalWidth).length")
        assert broken == 0
    finally:
        alone.close()


def test_the_slider_moves_by_the_arrow_keys(reader: Reader, site: Site) -> None:
    """One press is one round: the picture below says which, without leaving the page."""
    reader.log_in("viewer")
    page = reader.see(f"/studies/{site.finished}/explanations")
    slider = page.locator("#round-number")
    last = int(slider.get_attribute("max") or 0)
    slider.focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#round")).to_contain_text(f"After round {last - 1}")


def test_a_live_page_keeps_focus_and_what_was_opened(reader: Reader, site: Site) -> None:
    """A record comes while somebody reads a table: all around it is new, the table stays open, the keyboard there."""
    reader.log_in("viewer")
    page = reader.see(f"/studies/{site.running}")
    table = page.locator("#now details").first
    table.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(table).to_have_attribute("open", "")
    table.evaluate("part => { part.dataset.before = 'yes'; }")
    engine = open_store(site.store)
    with writing(engine).begin() as connection:
        append_own(
            connection, "run:running", site.running, EventBody(event="note", what="while somebody reads")
        )
    engine.dispose()
    expect(page.locator("#now [data-before]")).to_have_count(0)
    expect(page.locator("#now").get_by_text("while somebody reads")).to_be_visible()
    expect(table).to_have_attribute("open", "")
    expect(table.locator("summary")).to_be_focused()
    expect(page.locator("#live")).to_have_text("The study changed; the page was brought up to date.")


def test_the_theme_can_be_chosen_and_is_kept(reader: Reader) -> None:
    """The button changes the theme, and another page keeps it."""
    reader.log_in("viewer")
    reader.see("/studies")
    before = reader.page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    button = reader.page.get_by_role("button", name="Theme")
    for _ in range(2):
        button.click()
        if reader.page.evaluate("() => getComputedStyle(document.body).backgroundColor") != before:
            break
    chosen = reader.page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert chosen != before
    reader.see("/events")
    assert reader.page.evaluate("() => getComputedStyle(document.body).backgroundColor") == chosen
