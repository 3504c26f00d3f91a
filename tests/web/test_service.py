"""From a recording to a zip over HTTP, and what is left when the studio is opened again."""

import io
import json
import socket
import zipfile

import pytest
import soundfile

from hafm.separate.stems import STEMS
from hafm.web.store import Store
from tests.web.conftest import RATE, Singer, sung_wav
from tests.web.stub import DIE, REFUSED, WRONG


def test_the_service_says_what_it_is_and_takes(studio: Singer) -> None:
    about = studio.ask("GET", "")
    assert about["limits"]["upload_bytes"] == 25_000_000
    assert "bossa" in about["styles"]


@pytest.mark.long
def test_a_recording_is_heard(studio: Singer, project: str) -> None:
    shown = studio.ask("GET", f"/projects/{project}")
    assert shown["name"] == "My song"
    assert shown["vocal"] == {
        "seconds": 6.0,
        "sample_rate_hz": RATE,
        "num_channels": 1,
        "num_samples": 96_000,
    }
    assert shown["jobs"] == []
    hearing = studio.ask("GET", f"/projects/{project}/hearing")
    assert len(hearing["peaks"]) == 300
    sung = [hz for hz in hearing["pitch"]["hertz"] if hz]
    assert len(sung) > 0.9 * len(hearing["pitch"]["hertz"])
    assert 200 < sorted(sung)[len(sung) // 2] < 240
    sheet = studio.ask("GET", f"/projects/{project}/lead-sheet")
    assert [bar["chords"] for bar in sheet["bars"]] == ["C", "F", "G7"]
    assert sheet["tempo_bpm"] == 120
    assert sheet["unsure"] == ["beats", "chords"]
    assert sheet["chords"][0]["notes"] == [48, 55, 60, 64]


@pytest.mark.long
def test_what_is_odd_about_a_recording_is_said(studio: Singer) -> None:
    shown = studio.ask("GET", f"/projects/{studio.sing(sung_wav(2.0, level=3.0))}")
    assert [warning["code"] for warning in shown["warnings"]] == ["clipped"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "kind"), [(DIE, "WorkerDied"), (WRONG, "InternalError"), (REFUSED, "UsageError")]
)
def test_a_take_that_fails_says_why_and_the_next_one_comes(studio: Singer, seed: int, kind: str) -> None:
    project = studio.sing()
    job = studio.finished(studio.play(project, seed=seed))
    assert (job["state"], job["error"]["kind"]) == ("failed", kind)
    assert studio.ask("GET", f"/projects/{project}/takes") == []
    assert studio.finished(studio.play(project, seed=1))["result"] == {"takes": [1]}


def test_no_recording_is_an_error_of_its_job(studio: Singer) -> None:
    text = b"once upon a time"
    shown = studio.ask("POST", "/projects", status=201, content=text, params={"name": "My text"})
    path = f"/projects/{shown['id']}"
    job = studio.finished(shown["jobs"][0])
    assert job["state"] == "failed"
    assert job["error"]["kind"] == "AudioReadError"
    assert job["error"]["message"].startswith("'My text' is ")
    assert studio.ask("GET", f"{path}/lead-sheet", status=409)["error"] == job["error"]
    failure = studio.ask("GET", path)["failure"]
    assert failure == {"code": "AudioReadError", "message": job["error"]["message"]}
    assert Store(studio.desk.store.folder).find(shown["id"]) is not None
    (studio.desk.store.path(shown["id"]) / "upload").write_bytes(sung_wav())
    again = studio.ask("POST", f"{path}/analyse", status=202, json={})
    assert studio.finished(again)["state"] == "done"
    assert studio.ask("GET", path)["failure"] is None
    studio.ask("DELETE", f"/projects/{shown['id']}", status=204)


TRAP = "http://127.0.0.1:PORT/x.wav"


@pytest.mark.parametrize(
    "text",
    [
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{TRAP}\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile '{TRAP}'\n",
        f"[playlist]\nFile1={TRAP}\nNumberOfEntries=1\n",
        f'<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{TRAP}</BaseURL></MPD>',
        f"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio PORT RTP/AVP 0\na=control:{TRAP}\n",
        TRAP,
        "file:///etc/passwd",
        "concat:/etc/passwd|/etc/hostname",
    ],
    ids=["hls", "concat", "pls", "dash", "sdp", "url", "file", "protocol"],
)
@pytest.mark.slow
def test_nobody_is_asked_for_a_sound_that_is_elsewhere(studio: Singer, text: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.2)
        text = text.replace("PORT", str(trap.getsockname()[1]))
        shown = studio.ask("POST", "/projects", status=201, content=text.encode())
        job = studio.finished(shown["jobs"][0])
        assert (job["state"], job["error"]["kind"]) == ("failed", "AudioReadError")
        assert "root:" not in job["error"]["message"]
        with pytest.raises(TimeoutError):
            trap.accept()


def test_the_sound_comes_in_ranges(studio: Singer, project: str) -> None:
    whole = studio.ask("GET", f"/projects/{project}/vocal")
    sound, rate = soundfile.read(io.BytesIO(whole.content))
    assert (len(sound), rate) == (96_000, RATE)
    part = studio.ask("GET", f"/projects/{project}/vocal", status=206, headers={"range": "bytes=100-199"})
    assert part.content == whole.content[100:200]
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole.content)}"
    studio.ask("GET", f"/projects/{project}/vocal", status=416, headers={"range": "bytes=99999999-"})


def test_the_sheet_is_corrected_and_put_back(studio: Singer) -> None:
    project = studio.sing()
    path = f"/projects/{project}/lead-sheet"
    before = studio.ask("GET", path)
    edit = {"edit": "bar", "bar": 2, "chords": "Dm G"}
    after = studio.ask("POST", f"{path}/edits", json={"edit": edit, "revision": before["revision"]})
    assert [bar["chords"] for bar in after["bars"]] == ["C", "Dm  G", "G7"]
    assert "chords" not in after["unsure"]
    stale = {"edit": edit, "revision": before["revision"]}
    assert "meanwhile" in studio.ask("POST", f"{path}/edits", status=409, json=stale)["error"]["message"]
    restored = studio.ask("PUT", path, json={"sheet": before["sheet"]})
    assert restored["sheet"] == before["sheet"]
    wrong = {**before["sheet"], "duration_seconds": 60.0}
    assert studio.ask("PUT", path, status=422, json={"sheet": wrong})["error"]["kind"] == "LeadSheetError"


def test_takes_are_made_listed_and_deleted(studio: Singer) -> None:
    project = studio.sing()
    assert studio.finished(studio.play(project, takes=2, seed=3))["result"] == {"takes": [1, 2]}
    assert studio.finished(studio.play(project))["result"] == {"takes": [3]}
    takes = studio.ask("GET", f"/projects/{project}")["takes"]
    assert [(take["number"], take["seed"]) for take in takes] == [(1, 3), (2, 3), (3, 0)]
    for what in ("accompaniment", "mix"):
        sound, _ = soundfile.read(
            io.BytesIO(studio.ask("GET", f"/projects/{project}/takes/2/{what}").content)
        )
        assert len(sound) == 96_000
    kept = studio.ask("PATCH", f"/projects/{project}", json={"best_take": 2, "is_kept": True})
    assert (kept["best_take"], kept["expires"]) == (2, None)
    studio.ask("DELETE", f"/projects/{project}/takes/2", status=204)
    studio.ask("GET", f"/projects/{project}/takes/2/mix", status=404)
    assert studio.ask("GET", f"/projects/{project}")["best_take"] is None
    assert studio.finished(studio.play(project))["result"] == {"takes": [4]}


def test_bars_or_takes_that_are_not_there_cannot_be_made_again(studio: Singer) -> None:
    project = studio.sing()
    studio.finished(studio.play(project))
    for take, first, last, status in ((1, 1, 99, 422), (1, 2, 1, 422), (77, 1, 1, 404)):
        again = {"take": take, "first_bar": first, "last_bar": last}
        studio.play(project, status=status, again=again)


@pytest.mark.long
def test_a_take_is_carried_home(studio: Singer) -> None:
    project = studio.sing(name="../Blue: sky.wav")
    studio.finished(studio.play(project))
    for format in ("wav", "flac"):
        wanted = {"take": 1, "format": format}
        job = studio.ask("POST", f"/projects/{project}/exports", status=202, json=wanted)
        assert studio.finished(job)["state"] == "done"
        answer = studio.ask("GET", f"/projects/{project}/export.zip")
        assert "Blue%20sky.zip" in answer.headers["content-disposition"]
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            assert archive.testzip() is None
            assert sorted(archive.namelist()) == sorted(
                [f"Blue sky/0{n} Blue sky {what}.{format}" for n, what in enumerate((*SOUNDS, *STEMS), 1)]
                + [
                    f"Blue sky/Blue sky {what}"
                    for what in ("chords.lab", "lead-sheet.json", "lead-sheet.mid")
                ]
                + ["Blue sky/generation.json"]
            )
            for number, what in enumerate((*SOUNDS, *STEMS), 1):
                data = archive.read(f"Blue sky/0{number} Blue sky {what}.{format}")
                sound, rate = soundfile.read(io.BytesIO(data))
                assert (len(sound), rate) == (96_000, RATE)
    studio.ask("POST", f"/projects/{project}/exports", status=404, json={"take": 9})


@pytest.mark.slow
def test_samples_play_the_chart_and_their_stems_are_carried_home(studio: Singer) -> None:
    project = studio.sing(name="Blue")
    job = studio.finished(studio.play(project, samples=True, seed=2))
    assert (job["state"], job["error"]) == ("done", None)
    [take] = studio.ask("GET", f"/projects/{project}/takes")
    assert (take["number"], take["players"], take["seed"]) == (1, "samples", 2)
    job = studio.ask("POST", f"/projects/{project}/exports", status=202, json={"take": 1, "format": "flac"})
    assert studio.finished(job)["state"] == "done"
    answer = studio.ask("GET", f"/projects/{project}/export.zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        names = [name.removeprefix("Blue/") for name in archive.namelist()]
        assert {"Blue band.mid", "arrangement.json", "02 Blue accompaniment.flac"} <= set(names)
        stems = [name for name in names if name.startswith(("05", "06", "07", "08"))]
        assert len(stems) >= 2
        sounds = [soundfile.read(io.BytesIO(archive.read(f"Blue/{name}"))) for name in stems]
        band, rate = soundfile.read(io.BytesIO(archive.read("Blue/02 Blue accompaniment.flac")))
    assert (len(band), rate) == (96_000, RATE)
    assert abs(sum(sound for sound, _ in sounds) - band).max() < 1e-5
    assert abs(band).max() > 0.01
    studio.play(project, status=422, samples=True, takes=2)
    again = {"take": 1, "first_bar": 1, "last_bar": 1}
    assert "samples" in studio.play(project, status=422, again=again)["error"]["message"]
    midi = studio.ask("GET", f"/projects/{project}/takes/1/arrangement.mid")
    assert midi.content[:4] == b"MThd"


@pytest.mark.slow
def test_samples_have_nothing_to_play_without_a_chart(studio: Singer) -> None:
    project = studio.sing()
    sheet = {"format": "hafm-lead-sheet", "version": 1, "duration_seconds": 6.0}
    studio.ask("PUT", f"/projects/{project}/lead-sheet", json={"sheet": sheet})
    job = studio.finished(studio.play(project, samples=True))
    assert (job["state"], job["error"]["kind"]) == ("failed", "LeadSheetError")


SOUNDS = ("vocal", "accompaniment", "mix", "click")


def test_a_metronome_gives_the_beats(studio: Singer) -> None:
    shown = studio.ask("POST", "/projects", status=201, params={"wait": True}, content=sung_wav())
    assert shown["jobs"] == []
    given = {
        "format": "hafm-lead-sheet",
        "version": 1,
        "duration_seconds": 6.4,
        "beats": [[0.75 * number, (number + 2) % 3 + 1] for number in range(8)],
        "meters": [[0.0, "3/4"]],
    }
    job = studio.ask("POST", f"/projects/{shown['id']}/analyse", status=202, json={"given": given})
    assert studio.finished(job)["state"] == "done"
    sheet = studio.ask("GET", f"/projects/{shown['id']}/lead-sheet")
    assert sheet["sheet"]["beats"] == given["beats"]
    assert sheet["meter"] == "3/4"
    assert sheet["sheet"]["duration_seconds"] == 6.0


def test_events_end_with_the_job(studio: Singer, project: str) -> None:
    job = studio.play(project, takes=1, watched=True)
    answer = studio.ask("GET", f"/jobs/{job['id']}/events")
    states = [json.loads(line[6:])["state"] for line in answer.text.splitlines() if line.startswith("data: ")]
    assert states[-1] == "done"


def test_a_studio_that_is_opened_again_has_everything(studio: Singer) -> None:
    project = studio.sing(name="Kept")
    studio.ask(
        "POST", f"/projects/{project}/lead-sheet/edits", json={"edit": {"edit": "style", "style": "bossa"}}
    )
    studio.finished(studio.play(project))
    again = Store(studio.desk.store.folder)
    found = again.find(project)
    assert found is not None
    assert found.name == "Kept"
    sheet = again.sheet(project)
    assert sheet is not None
    assert sheet.style == "bossa"
    assert [take["number"] for take in again.takes(project)] == [1]


def test_the_example_is_a_project(studio: Singer) -> None:
    shown = studio.ask("POST", "/example", status=201)
    assert studio.finished(shown["jobs"][0])["state"] == "done"
    assert studio.ask("GET", f"/projects/{shown['id']}")["vocal"]["seconds"] > 10
    listed = [each["id"] for each in studio.ask("GET", "/projects")]
    assert listed[0] == shown["id"]
    studio.ask("DELETE", f"/projects/{shown['id']}", status=204)
    studio.ask("GET", f"/projects/{shown['id']}", status=404)
