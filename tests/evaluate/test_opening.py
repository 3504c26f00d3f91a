"""Embeddings by name."""

from pathlib import Path

import pytest
import torch

from hafm.errors import DeviceError, UsageError
from hafm.evaluate import embeddings
from hafm.evaluate.embeddings import KINDS, open_embedding
from hafm.evaluate.embeddings.base import Embedding
from hafm.evaluate.embeddings.builtin import MelModulation


class Opened(Exception):
    """What a loader was asked for."""


def asked(name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[object, ...]:
    def load(source: str, **options: object) -> Embedding:
        raise Opened(source, options)

    for loader in ("load_clap", "load_mert", "load_vggish"):
        monkeypatch.setattr(embeddings, loader, load)
    with pytest.raises(Opened) as call:
        open_embedding(name)
    return call.value.args


CPU = torch.device("cpu")
COMMIT = 40 * "a"


def test_the_built_in_one_needs_nothing() -> None:
    assert isinstance(open_embedding("builtin"), MelModulation)
    with pytest.raises(UsageError, match="leave out ':weights'"):
        open_embedding("builtin:weights")


@pytest.mark.parametrize(
    ("name", "source", "options"),
    [
        ("vggish:a/b.pth", "a/b.pth", {"device": CPU}),
        ("vggish:C:/b.pth", "C:/b.pth", {"device": CPU}),
        ("vggish-relu:b.pth", "b.pth", {"relu": True, "device": CPU}),
        ("clap:models/music", "models/music", {"revision": None, "device": CPU}),
        (f"clap:laion/x@{COMMIT}", "laion/x", {"revision": COMMIT, "device": CPU}),
        (f"mert:m-a-p/x@{COMMIT}", "m-a-p/x", {"revision": COMMIT, "device": CPU}),
        ("mert:m-a-p/x", "m-a-p/x", {"revision": None, "device": CPU}),
    ],
)
def test_names_say_what_is_loaded(
    name: str, source: str, options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert asked(name, monkeypatch) == (source, options)


def test_a_folder_may_have_an_at_in_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "clap@home"
    assert asked(f"clap:{folder}", monkeypatch)[0] == str(tmp_path / "clap")
    folder.mkdir()
    assert asked(f"clap:{folder}", monkeypatch)[0] == str(folder)


def test_unknown_names_list_what_there_is() -> None:
    with pytest.raises(UsageError, match=r"'vgish'; did you mean 'vggish'\? there are builtin, vggish:FILE"):
        open_embedding("vgish:weights.pth")
    with pytest.raises(UsageError, match=r"did you mean 'builtin'\?"):
        open_embedding("buildin")
    with pytest.raises(UsageError) as refusal:
        open_embedding("")
    assert all(f"{kind}:" in str(refusal.value) for kind in KINDS)


@pytest.mark.parametrize("kind", list(KINDS))
def test_weights_have_to_be_given_and_to_be_there(kind: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"the embedding {kind} needs weights: give {kind}:"):
        open_embedding(kind)
    with pytest.raises(UsageError, match="there is no f"):
        open_embedding(f"{kind}:{tmp_path / 'nothing'}")


def test_the_device_is_looked_for_first() -> None:
    with pytest.raises(DeviceError, match="there is no device 'gpu'"):
        open_embedding("builtin", device="gpu")
