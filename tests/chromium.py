"""One reader before the real dashboard: Debian's Chromium, driven by Playwright.

The policy of the pages stays in force: nothing here uses `bypass_csp`.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from playwright.sync_api import Browser, BrowserContext, Page, Request, Route, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NO_CHROMIUM = "a browser test needs Chromium from the distribution: apt-get install chromium"
PASSWORD = "a long sentence for a test"  # noqa: S105 - of accounts that tests make
# told to the page before any of its own: what the policy refused
_WATCH = """window.refused = [];
addEventListener('securitypolicyviolation', event => window.refused.push(event.violatedDirective));"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Chromium; Playwright's event loop, which no other test may meet, ends with it."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@dataclass
class Reader:
    """One reader's browser window, and what it asked for and complained about."""

    page: Page
    address: str
    foreign: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @classmethod
    def before(cls, context: BrowserContext, address: str) -> "Reader":
        """Open a page before a dashboard; whatever would leave this machine is stopped and written down."""
        one = cls(context.new_page(), address)

        def watch(route: Route, asked: Request) -> None:
            if asked.url.startswith((address, "data:")):
                route.continue_()
            else:
                one.foreign.append(asked.url)
                route.abort()

        context.route("**/*", watch)
        context.add_init_script(_WATCH)
        one.page.on(
            "console", lambda said: one.complaints.append(said.text) if said.type == "error" else None
        )
        one.page.on("pageerror", lambda error: one.complaints.append(str(error)))
        return one

    def see(self, path: str) -> Page:
        """Go to a page and wait until it is all there."""
        self.page.goto(self.address + path, wait_until="networkidle" if "changes" in path else "load")
        return self.page

    def log_in(self, name: str, password: str = PASSWORD) -> None:
        """Log in by the form."""
        self.see("/login")
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Log in").click()

    def refused(self) -> list[str]:
        """Return what the policy refused on the page that is open."""
        found: list[str] = self.page.evaluate("() => window.refused")
        return found
