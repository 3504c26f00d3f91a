"""Bars of a take made again over HTTP, with a tiny bundle in the model's place."""

import json
import shutil
from functools import partial
from pathlib import Path

import pytest
import soundfile
from starlette.testclient import TestClient

from hafm.app.cli import run
from hafm.guide.sheet_json import lead_sheet_to_json
from hafm.web.api import make_app
from hafm.web.desk import Desk
from hafm.web.limits import Limits
from hafm.web.store import Store
from hafm.web.work import Studio
from tests.tiny import make_following_bundle
from tests.web.conftest import BASE, RATE, Singer, sung_wav
from tests.web.stub import sheet_of

SECONDS = 4.5


@pytest.mark.slow
def test_the_new_take_is_the_old_one_but_for_its_bars_and_can_be_replayed(tmp_path: Path) -> None:
    bundle = make_following_bundle(tmp_path / "bundle")
    desk = Desk(Store(tmp_path / "studio"), limits=Limits(), opener=partial(Studio, str(bundle), "cpu"))
    with TestClient(make_app(desk), base_url=BASE) as client:
        studio = Singer(client, desk)
        project = studio.sing(sung_wav(SECONDS))
        revision = studio.ask("GET", f"/projects/{project}/lead-sheet")["revision"]
        sheet = {"sheet": json.loads(lead_sheet_to_json(sheet_of(SECONDS))), "revision": revision}
        studio.ask("PUT", f"/projects/{project}/lead-sheet", json=sheet)
        assert studio.finished(studio.play(project, seed=1))["state"] == "done"
        wanted = {"take": 1, "first_bar": 2, "last_bar": 2}  # from 2.5 s to the last beat's end
        job = studio.finished(studio.play(project, seed=2, again=wanted))
        assert (job["state"], job["error"]) == ("done", None)
        takes = studio.ask("GET", f"/projects/{project}")["takes"]
    assert [(take["number"], take["of_take"], take["bars"]) for take in takes] == [
        (1, None, None),
        (2, 1, [2, 2]),
    ]
    folder = desk.store.path(project) / "takes"
    (old, rate), (new, _) = (soundfile.read(folder / take / "accompaniment.wav") for take in ("001", "002"))
    assert (rate, old.shape) == (RATE, new.shape)
    first, last = round(2.5 * RATE), round(4.5 * RATE)
    assert (new[:first] == old[:first]).all()
    assert (new[last:] == old[last:]).all()
    assert (new[first:last] != old[first:last]).any()
    shutil.rmtree(folder / "001")  # it is made again from its record, too
    out = tmp_path / "replayed"
    record = folder / "002" / "generation.json"
    assert run(["generate", "--replay", str(record), "-o", str(out), "--quiet"]) == 0
    for name in ("accompaniment.wav", "mix.wav"):
        assert (out / name).read_bytes() == (folder / "002" / name).read_bytes()
