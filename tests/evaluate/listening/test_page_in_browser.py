"""The page in a real browser: it plays, it waits until both sides were heard, it keeps and saves answers.

Needs Chromium, its driver and selenium, which are no part of the project's environment:

    apt install chromium chromium-driver; pip install selenium
"""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hafm.evaluate.listening.answers import Answers
from hafm.evaluate.listening.design import Design, Plan
from hafm.evaluate.listening.kit import ListeningRun
from hafm.evaluate.listening.score import score
from tests.browser import started
from tests.evaluate.runs import make_run

pytestmark = pytest.mark.slow

WORTH = ("silence", "noise", "random", "model", "truth")


@pytest.fixture
def kit(tmp_path: Path) -> tuple[Path, Design]:
    run = make_run(tmp_path / "run", systems=WORTH, songs=3, seconds=1.5)
    listening = ListeningRun(run.path)
    design = listening.design(Plan(trials=3, catch=1, repeats=1, listen_seconds=1.0))
    page = tmp_path / "listen.html"
    page.write_text(listening.page(design), encoding="utf-8")
    return page, design


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    driver = started(tmp_path, "--host-resolver-rules=MAP * ~NOTFOUND")
    yield driver
    driver.quit()


def until(met: Callable[[], Any], *, seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := met()):
        assert time.monotonic() < end, "the page did not get there"
        time.sleep(0.05)
    return found


def requested(browser: Any) -> set[str]:
    """Schemes of everything that the page asked for."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [each["params"] for each in messages if each["method"] == "Network.requestWillBeSent"]
    return {
        each["request"]["url"].partition(":")[0] for each in sent if each["documentURL"].startswith("file:")
    }


def test_a_rater_takes_the_test(kit: tuple[Path, Design], browser: Any, tmp_path: Path) -> None:
    page, design = kit
    (tmp_path / "saved").mkdir()

    def element(name: str) -> Any:
        return browser.find_element("id", name)

    def press(keys: str) -> None:
        browser.find_element("tag name", "body").send_keys(keys)

    def begin() -> None:
        browser.get(page.as_uri())
        assert not element("start").is_enabled()
        element("check").click()
        until(lambda: element("start").is_enabled())

    begin()
    element("rater").send_keys("Ann a1 ")
    element("start").click()
    for number, trial in enumerate(design.trials):
        assert f"Pair {number + 1} of 5" in element("count").text
        choice = "1" if WORTH.index(trial.a) > WORTH.index(trial.b) else "3"
        press(choice)
        assert browser.execute_script("return state.open.choice") is None  # nothing was heard yet
        for side in "ab":
            press(side)
            assert not element("next").is_enabled()
            until(lambda side=side: browser.execute_script("return enough(arguments[0])", side))
        press(choice)
        if number == 0:
            element("comment").send_keys("b 2")  # keys are letters here
        until(lambda: element("next").is_enabled())
        element("next").click()
        if number == 1:  # closed, and opened again later
            browser.get("about:blank")
            begin()
            assert element("start").text == "Go on"
            assert element("rater").get_attribute("value") == "Ann a1"
            element("start").click()
    assert element("end-title").text == "Thank you"
    element("save").click()
    (saved,) = until(lambda: list((tmp_path / "saved").glob("answers-*.json")))
    assert saved.name == f"answers-{design.kit[:6]}-Ann-a1.json"

    answers = Answers.from_json(saved.read_text(), design=design, where="saved")
    assert [answer.trial for answer in answers.answers] == [trial.id for trial in design.trials]
    assert answers.answers[0].comment == "b 2"
    for each in json.loads(saved.read_text())["answers"]:
        assert min(each["heard_seconds"].values()) >= 1.0
        assert each["plays"] == {"a": 1, "b": 1}
    found = score(design, [answers], draws=10)
    assert (found.raters[0].caught, found.raters[0].consistent) == (1, 1)
    assert [row.system for row in found.strengths] == ["truth", "model", "random"]

    schemes = requested(browser)
    assert "blob" in schemes  # so requests are seen at all
    assert schemes <= {"file", "blob", "data"}
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


@pytest.mark.parametrize("width", [400, 1000])
def test_the_page_fits_a_phone_and_a_desk(kit: tuple[Path, Design], browser: Any, width: int) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 860, "deviceScaleFactor": 1, "mobile": True},
    )
    browser.get(kit[0].as_uri())
    for section in ("intro", "trial", "end"):
        browser.execute_script("show(arguments[0])", section)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
