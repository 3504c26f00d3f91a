"""The studio in Chromium, with a stub in the model's place: what a singer does there, from a file to a zip.

`make test-web` installs Chromium, selenium and axe-core and runs this; without them it is skipped. The page
is closed to all names but this machine's, and every request that it makes is looked at.
"""

import io
import json
import os
import socket
import threading
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import uvicorn

from hafm.web.api import PAGE, make_app
from hafm.web.desk import Desk
from hafm.web.limits import Limits
from hafm.web.store import Store
from tests.browser import started
from tests.web import conftest
from tests.web.conftest import sung_wav
from tests.web.stub import SLOW, StubStudio

pytestmark = pytest.mark.slow

SHOTS = os.environ.get("SHOTS")
AXE = os.environ.get("AXE")

until = partial(conftest.until, seconds=60.0)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(Desk(Store(tmp_path_factory.mktemp("studio")), limits=Limits(), opener=StubStudio)) as found:
        yield found


@contextmanager
def serving(desk: Desk) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(make_app(desk), log_level="error", lifespan="on"))
        server.capture_signals = nullcontext  # type: ignore[method-assign,assignment]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        server.should_exit = True
        thread.join()


class Page:
    """The page, by the names of its elements."""

    def __init__(self, driver: Any, address: str, saved: Path) -> None:
        self.driver, self.address, self.saved = driver, address, saved
        self.console: list[dict[str, Any]] = []

    def open(self) -> None:
        self.driver.get(self.address)
        until(lambda: self.js("return document.body.dataset.ready") == "yes")

    def open_song(self) -> None:
        """The one that was used last."""
        self.open()
        until(lambda: self.all("#projects button"))
        self.press("#projects button")
        self.song()

    def js(self, code: str, *values: Any) -> Any:
        return self.driver.execute_script(code, *values)

    def __getitem__(self, name: str) -> Any:
        return self.driver.find_element("css selector", name)

    def all(self, name: str) -> list[Any]:
        return list(self.driver.find_elements("css selector", name))

    def press(self, name: str) -> None:
        self.js("document.querySelector(arguments[0]).click()", name)  # lanes are drawn anew at any moment

    def choose(self, name: str, value: str) -> None:
        code = "const it = document.getElementById(arguments[0]); it.value = arguments[1]"
        self.js(f"{code}; it.dispatchEvent(new Event('change'))", name, value)

    def chords(self) -> list[str]:
        return list(
            self.js("return [...document.querySelectorAll('button.chord')].map((it) => it.innerText)")
        )

    def beats(self) -> list[float]:
        code = "return [...document.querySelectorAll('.beat')].map((it) => Number(it.dataset.seconds))"
        return list(self.js(code))

    def drag(self, name: str, pixels: int) -> None:
        """With the mouse."""
        chains = pytest.importorskip("selenium.webdriver.common.action_chains")
        self.js("document.querySelector('#stage').scrollIntoView({block: 'center'})")
        chains.ActionChains(self.driver).click_and_hold(self[name]).move_by_offset(
            pixels, 0
        ).release().perform()

    def song(self) -> None:
        """Waits until a song is there and nothing is being worked on."""
        until(lambda: self["#desk"].is_displayed() and not self["#work"].is_displayed())

    def look(self, width: int, dark: bool) -> None:
        """Another screen, by day or by night."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
        size = {"width": width, "height": 860, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        time.sleep(0.5)  # the waveform is drawn anew when the size has settled

    def shot(self, name: str) -> None:
        if SHOTS:
            self.driver.save_screenshot(str(Path(SHOTS) / f"{name}.png"))

    def check_access(self) -> None:
        if AXE is None:
            return
        self.console += self.driver.get_log("browser")
        self.js(Path(AXE).read_text())
        self.driver.set_script_timeout(120)
        found = self.driver.execute_async_script(
            "const done = arguments[0]; axe.run().then((found) => done(found.violations))"
        )
        self.driver.get_log("browser")  # axe tries a style of its own, which the page's policy refuses
        serious = [each for each in found if each["impact"] in ("serious", "critical")]
        assert [(each["id"], [node["html"][:100] for node in each["nodes"]]) for each in serious] == []

    def check_quiet(self) -> None:
        """No request to anywhere else, no error on the console."""
        sent = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                sent.append(message["params"]["request"]["url"])
        assert sent
        allowed = (self.address, "data:", "blob:", "chrome:", "chrome-untrusted:", "about:")
        assert [url for url in sent if not url.startswith(allowed)] == []
        self.console += self.driver.get_log("browser")
        severe = [each for each in self.console if each["level"] == "SEVERE"]
        assert [each for each in severe if "status of 422" not in each["message"]] == []  # a wrong chord


def chromium(folder: Path, *words: str) -> Any:
    """That reaches the studio and nothing else."""
    here = ("--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "--window-size=1240,1000")
    driver = started(folder, *here, *words)
    # Chromium 150 without a screen keeps the focus from the page, and keys then add to what is selected.
    driver.execute_cdp_cmd("Emulation.setFocusEmulationEnabled", {"enabled": True})
    return driver


@pytest.fixture(scope="module")
def page(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("browser")
    (folder / "saved").mkdir()
    (folder / "sung.wav").write_bytes(recording())
    driver = chromium(
        folder,
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={folder / 'sung.wav'}",
    )
    yield Page(driver, address, folder)
    driver.quit()


def recording() -> bytes:
    """What the fake microphone hears: a tone, again and again."""
    time_axis = np.arange(3 * 48_000) / 48_000
    file = io.BytesIO()
    soundfile.write(file, 0.4 * np.sin(2 * np.pi * 330 * time_axis), 48_000, format="WAV", subtype="PCM_16")
    return file.getvalue()


def test_from_a_file_to_a_zip(page: Page) -> None:
    page.open()
    page.shot("start")
    page.check_access()
    path = page.saved / "Blue sky.wav"
    path.write_bytes(sung_wav(8.0))
    page["#file"].send_keys(str(path))
    page.song()
    assert page["#name"].get_attribute("value") == "Blue sky"
    assert page.chords() == ["C", "F", "G7", "C"]
    assert page["#pitch path"].get_attribute("d").startswith("M")

    # a chord is typed into bar 2; undone, and done again
    page.press('[data-place="chord-2"]')
    field = page["input.chord"]
    field.send_keys("Dm G\n")
    until(lambda: page.chords() == ["C", "Dm  G", "G7", "C"] or page.chords()[1].split() == ["Dm", "G"])
    page.press("#undo")
    until(lambda: page.chords() == ["C", "F", "G7", "C"])
    page.press("#redo")
    until(lambda: page.chords()[1].split() == ["Dm", "G"])

    # what is not understood is said, and changes nothing
    page.press('[data-place="chord-1"]')
    page["input.chord"].send_keys("Xyz\n")
    until(lambda: "Xyz" in page["#problem"].text)
    assert page.chords()[0] == "C"

    # tempo, key, style, players
    page.js("document.getElementById('tempo').value = 90")
    page.press("#tempo-set")
    until(lambda: len(page.chords()) == 3)
    page.song()
    assert page["#problem"].text == ""
    page.js(
        "const s = document.getElementById('key'); s.value = 'D:maj'; s.dispatchEvent(new Event('change'))"
    )
    until(lambda: page.chords()[0] == "D")
    page.js(
        "const s = document.getElementById('style'); s.value = 'bossa'; s.dispatchEvent(new Event('change'))"
    )
    page.press('[data-place="bar-2"]')
    until(lambda: page["#marked"].is_displayed())
    page.press('[data-without="drums"]')
    until(lambda: "no drums" in page.chords()[1])
    page.shot("corrected")

    # a beat is moved with the keyboard; the first one carries the bars
    before = page.js("return document.querySelector('.beat.first').dataset.seconds")
    page.js("document.querySelector('.beat.first').focus()")
    keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
    for _ in range(5):
        page.driver.switch_to.active_element.send_keys(keys.SHIFT, keys.ARROW_RIGHT)
    until(
        lambda: (
            page.js("return document.querySelector('.beat.first').dataset.seconds") != before
            and not page["#work"].is_displayed()
        )
    )
    page.song()

    # the band
    page.press("#get-band")
    until(lambda: len(page.all("#takes li.heard")) == 1 and not page["#work"].is_displayed())
    until(lambda: len(page.all("#takes li")) == 3)  # two, and a band of samples meanwhile
    assert sum("samples" in item.text and "Bossa nova" in item.text for item in page.all("#takes li")) == 1
    page.shot("takes")
    page.check_access()

    # it plays, and switching keeps the place
    page.press("#play")
    until(lambda: page["#position"].text > "0:00.5")
    place = page["#position"].text
    page.press("#takes li:nth-child(3) .listen")
    page.js("document.querySelector('[name=hear][value=band]').click()")
    until(lambda: page["#position"].text > place)
    page.press("#play")

    # home
    samples = next(number for number, item in enumerate(page.all("#takes li"), 1) if "samples" in item.text)
    page.press(f"#takes li:nth-child({samples}) button:nth-of-type(3)")
    (found,) = until(lambda: list((page.saved / "saved").glob("*.zip")))
    with zipfile.ZipFile(found) as archive:
        assert {"Blue sky/03 Blue sky mix.wav", "Blue sky/Blue sky band.mid"} <= set(archive.namelist())
    page.check_quiet()


def test_bars_are_made_again(page: Page) -> None:
    page.press('[data-place="bar-2"]') if not page["#marked"].is_displayed() else None
    page.choose("again-of", page.js("return document.getElementById('again-of').options[0].value"))
    page.press("#again")
    until(lambda: len(page.all("#takes li")) == 4 and not page["#work"].is_displayed())
    until(lambda: "with bars 2 to 2 made again" in page["#takes li.heard"].text)
    page.shot("again")


def test_beats_are_dragged_and_tapped_and_chords_come_as_text(page: Page) -> None:
    page.open_song()
    before = page.beats()
    page.drag('[data-place="beat-3"]', 30)
    until(lambda: page.beats()[2] > before[2] + 0.05)
    assert page.beats()[0] == before[0], "the others make room, and the first stays"
    page.press("#undo")
    until(lambda: page.beats() == before)
    page.drag('[data-place="beat-1"]', -25)
    until(lambda: page.beats()[0] < before[0] - 0.05)
    steps = {round(new - old, 3) for new, old in zip(page.beats(), before, strict=False)}
    assert len(steps) == 1, "all bars move with the first beat"

    page.js("document.getElementById('chart').value = '| Em | C  D |'")
    page.press("#chart-set")
    until(lambda: [" ".join(each.split()[:2]) for each in page.chords()][:2] == ["Em", "C D"])

    page.js(TAP, 400)  # milliseconds between taps
    until(lambda: abs(float(page["#tempo"].get_attribute("value")) - 150) < 8)
    page.song()
    page.js("document.getElementById('style').focus()")
    page.press("#half")
    until(lambda: abs(float(page["#tempo"].get_attribute("value")) - 75) < 4)
    page.song()
    assert page["#problem"].text == ""
    page.check_quiet()


TAP = """
const tap = document.getElementById("tap");
for (let number = 0; number < 6; number += 1) {
  setTimeout(() => tap.dispatchEvent(new PointerEvent("pointerdown")), number * arguments[0]);
}
"""


def test_a_song_is_there_when_the_page_is_opened_again(page: Page) -> None:
    page.driver.get("about:blank")
    page.open_song()
    assert len(page.all("#takes li")) == 4
    page.driver.refresh()
    page.song()
    assert page["#name"].get_attribute("value") == "Blue sky"


def test_work_is_stopped(page: Page) -> None:
    page.js("document.getElementById('seed').value = arguments[0]", SLOW)
    page.press("#get-band")
    until(lambda: page["#work"].is_displayed() and "left" in page["#work-left"].text)
    page.shot("working")
    page.press("#cancel")
    until(lambda: not page["#work"].is_displayed(), seconds=5)
    assert len(page.all("#takes li")) == 4
    page.js("document.getElementById('seed').value = 1")


def test_a_page_that_is_closed_stops_its_work(page: Page) -> None:
    page.js("document.getElementById('seed').value = arguments[0]", SLOW)
    page.press("#get-band")
    until(lambda: page["#work"].is_displayed() and "left" in page["#work-left"].text)
    job = page.js("return fetch('/v1/projects/' + location.hash.slice(1)).then((a) => a.json())")["jobs"][0]
    page.driver.get("about:blank")
    page.open()
    ended = "return fetch('/v1/jobs/' + arguments[0]).then((a) => a.json())"
    until(lambda: page.js(ended, job["id"])["state"] == "cancelled", seconds=10)


LOOP = """
// What is played is what the microphone hears, a tenth and a fiftieth of a second later.
const Real = window.AudioContext;
window.AudioContext = class extends Real {
  constructor(...values) {
    super(...values);
    this.echo = super.createDelay(1);
    this.echo.delayTime.value = 0.12;
    this.bus = super.createGain();
    this.bus.connect(super.destination);
    this.bus.connect(this.echo);
  }
  get destination() { return this.bus ?? super.destination; }
  createMediaStreamSource(stream) { this.kept = super.createMediaStreamSource(stream); return this.echo; }
};
"""


def test_the_delay_of_the_computer_is_measured_and_taken_out(page: Page) -> None:
    page.open()
    page.js(LOOP)
    page.press("#open-record")
    page.press("#latency-measure")
    until(lambda: "ms" in page["#latency"].get_attribute("textContent"))
    measured = int(page["#latency"].get_attribute("textContent").split()[0])
    assert measured == pytest.approx(120, abs=3)
    page.js("document.getElementById('record-tempo').value = 150")
    page.js("document.getElementById('record-chords').value = '| Am | F |'")
    page.press("#record-start")
    until(lambda: page["#record-time"].text.endswith("0:04"))
    page.press("#record-stop")
    page.song()
    assert [each.strip() for each in page.chords()[:3]] == ["Am", "F", "Am"]
    url = page.address + "v1/projects/" + page.js("return location.hash.slice(1)") + "/vocal"
    with urllib.request.urlopen(url) as answer:
        sound, rate = soundfile.read(io.BytesIO(answer.read()))
    late = []
    for beat in page.beats()[2:9]:  # a click is as loud as the chords at its very beginning only
        around = sound[round((beat - 0.05) * rate) : round((beat + 0.05) * rate)]
        high = np.abs(np.diff(around, n=2))  # where a click begins, a sine of 1 kHz or more does
        onset = beat - 0.05 + float(np.argmax(high > 0.25 * high.max())) / rate
        late.append(onset - beat)
    assert np.median(late) == pytest.approx(0, abs=0.006), late  # a busy computer loses a block now and then
    page.check_quiet()
    page.open()  # with the browser's own AudioContext again


def test_a_singer_records(page: Page) -> None:
    page.open()
    page.press("#back") if page["#back"].is_displayed() else None
    page.press("#open-record")
    page.js("document.getElementById('record-tempo').value = 180")
    page.press("#record-start")
    until(lambda: page["#record-time"].text.endswith("0:04"))
    page.shot("recording")
    page.press("#record-stop")
    page.song()
    assert float(page["#tempo"].get_attribute("value")) == pytest.approx(180, abs=0.1)
    hertz = page.js(
        "return fetch('/v1/projects/' + location.hash.slice(1) + '/hearing').then((a) => a.json())"
    )["pitch"]["hertz"]
    sung = sorted(hz for hz in hertz if hz)
    assert sung[len(sung) // 2] == pytest.approx(330, rel=0.02)
    page.check_quiet()


@pytest.mark.parametrize(("width", "dark"), [(390, False), (390, True), (1240, True)])
def test_it_fits_a_phone_and_the_night(page: Page, width: int, dark: bool) -> None:
    page.look(width, dark)
    name = f"{'phone' if width < 500 else 'desk'}-{'dark' if dark else 'light'}"
    page.open()
    until(lambda: page.all("#projects button"))
    for place, press in (("start", None), ("recorder", "#open-record"), ("song", None)):
        if press:
            page.press(press)
        if place == "song":
            page.open_song()
            page.press('[data-place="bar-1"]')
        assert page.js("return document.documentElement.scrollWidth") <= width
        page.shot(f"{name}-{place}")
        page.check_access()


def test_the_built_in_model_plays_with_a_corrected_chord(tmp_path: Path) -> None:
    """What a newcomer does, from `hafm web` to a mix on the disk; with the model that is shipped."""
    (tmp_path / "saved").mkdir()
    sung, rate = soundfile.read(PAGE.parents[1] / "assets" / "demo_vocal.flac", dtype="float32")
    path = tmp_path / "My song.wav"
    soundfile.write(path, sung[: 8 * rate], rate)
    began = time.monotonic()
    with serving(Desk(Store(tmp_path / "studio"), limits=Limits())) as found:
        driver = chromium(tmp_path)
        try:
            page = Page(driver, found, tmp_path)
            page.open()
            page["#file"].send_keys(str(path))
            page.song()
            page.shot("heard")
            page.press('[data-place="chord-1"]')
            page["input.chord"].send_keys("F Bb\n")
            until(lambda: page.chords()[0].split() == ["F", "Bb"])
            page.choose("number", "1")
            page.press("#get-band")
            conftest.until(lambda: "samples" in page["#takes"].text)
            sketched = time.monotonic() - began
            page.shot("sketch")
            conftest.until(lambda: len(page.all("#takes li")) == 2 and not page["#work"].is_displayed())
            for width, dark in ((1240, True), (390, True), (1240, False)):
                page.look(width, dark)
                page.shot(f"song-{width}-{'dark' if dark else 'light'}")
            page.check_access()
            page.press("#takes li.heard button:nth-of-type(3)")
            (saved,) = until(lambda: list((tmp_path / "saved").glob("*.zip")))
            with zipfile.ZipFile(saved) as archive:
                mix, mix_rate = soundfile.read(io.BytesIO(archive.read("My song/03 My song mix.wav")))
                record = json.loads(archive.read("My song/generation.json"))
            page.check_quiet()
        finally:
            driver.quit()
    assert (len(mix), mix_rate) == (8 * rate, rate)
    chords = [label for *_, label in record["lead_sheet"]["chords"]]
    assert "F:maj Bb:maj" in " ".join(chords)
    print(f"first sound after {sketched:.0f} s, the mix after {time.monotonic() - began:.0f} s")
