"""A headless Chromium."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("plotly")
CHROMES = ("google-chrome", "chromium", "chromium-browser")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--window-size=1280,1000"
)


def lacking(what: str) -> None:
    """Skip; but where tests are the gate a browser must be there."""
    if os.environ.get("CI"):
        pytest.fail(f"{what}, and CI is set")
    pytest.skip(what)


class Page:
    """An HTML file, open in the browser."""

    def __init__(self, driver: Any, path: Path) -> None:
        self.driver = driver
        driver.get_log("browser")
        driver.get_log("performance")
        self.address = path.resolve().as_uri()
        driver.get(self.address)

    def script(self, code: str, *args: object) -> Any:
        return self.driver.execute_script(code, *args)

    def complaints(self) -> list[str]:
        """What the console said."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Addresses that the page asked for, other than itself and what it holds."""
        sent = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        params = [m["params"] for m in sent if m["method"] == "Network.requestWillBeSent"]
        # Not what the browser's own first tab asks for.
        mine = [p for p in params if p["documentURL"].partition("#")[0] == self.address]
        urls = [p["request"]["url"] for p in mine]
        assert self.address in urls  # the log does list requests
        return [url for url in urls if not url.startswith((self.address, "data:", "blob:"))]

    def hover(self, panel: int, place: int) -> str:
        """Put the mouse on a place of a plot; return what pops up."""
        from selenium.webdriver.common.action_chains import ActionChains

        # Where the point is, from the axes: as a reader's hand would find it.
        x, y = self.script(
            """
            const plots = document.getElementById("plots"), at = arguments[1];
            Plotly.Fx.unhover(plots);  // or what popped up last would be taken for this
            const axis = arguments[0] > 1 ? String(arguments[0]) : "";
            for (const trace of plots.data) {
              if (trace.yaxis !== "y" + axis || !trace.customdata) continue;
              const n = Array.from(trace.customdata).indexOf(at);
              if (n < 0 || Array.from(trace.y)[n] === null) continue;
              const xa = plots._fullLayout["xaxis" + axis], ya = plots._fullLayout["yaxis" + axis];
              const box = plots.getBoundingClientRect();
              return [box.left + xa._offset + xa.d2p(Array.from(trace.x)[n]),
                      box.top + ya._offset + ya.d2p(Array.from(trace.y)[n])];
            }
            """,
            panel,
            place,
        )
        mouse = ActionChains(self.driver, duration=20)  # 250 ms by default
        mouse.w3c_actions.pointer_action.move_to_location(round(x), round(y))
        mouse.perform()
        return self.wait_for("return document.querySelector('.hoverlayer')?.textContent")

    def click(self, selector: str) -> None:
        self.driver.find_element("css selector", selector).click()

    def wait_for(self, code: str) -> Any:
        """Return what a script returns, when that is something."""
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, 20, 0.05).until(lambda _: self.script(code))


@pytest.fixture(scope="session")
def driver() -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver")
    chrome = next(filter(None, map(shutil.which, CHROMES)), None)
    if chrome is None:
        lacking("there is no Chromium (apt-get install chromium chromium-driver)")
    server = shutil.which("chromedriver")
    if server is None:
        lacking("there is no chromedriver (apt-get install chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chrome
    with tempfile.TemporaryDirectory() as profile:
        for flag in (*FLAGS.split(), f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        service = webdriver.ChromeService(executable_path=server)
        driver = webdriver.Chrome(options=options, service=service)
        yield driver
        driver.quit()


@pytest.fixture(scope="session")
def opened(driver: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Page]:
    """Open a page and wait until its plots are drawn, if it has some.

    All pages are opened from one place: there the browser knows the 4 MB of scripts, which take it
    a second to compile.
    """
    shown = tmp_path_factory.mktemp("shown") / "page.html"

    def open_(path: Path) -> Page:
        shutil.copyfile(path, shown)
        page = Page(driver, shown)
        if page.script("return document.getElementById('plots') !== null"):
            page.wait_for("return document.querySelectorAll('#plots .scatterlayer .trace').length")
        return page

    return open_
