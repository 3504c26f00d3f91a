"""Where things run beside an Apple GPU. None is here: `to` is watched, and everything stays on the CPU."""

from pathlib import Path
from typing import Any

import pytest
import torch

from hafm.generate.accompany import Accompanist
from tests.tiny import make_tiny_bundle, same, sung
from tests.unchecked import unchecked

APPLE = torch.device("mps")
VOCAL, RATE = sung(0.6), 24_000


@pytest.fixture
def went(monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, str]]:
    """Which modules were sent to which kind of device."""
    seen: set[tuple[str, str]] = set()
    module_to, tensor_to = torch.nn.Module.to, torch.Tensor.to

    def module(self: torch.nn.Module, device: Any) -> torch.nn.Module:
        seen.add((type(self).__name__, torch.device(device).type))
        return module_to(self, "cpu")

    def tensor(self: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        if args and args[0] == APPLE:
            if self.dtype == torch.float64:
                raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
            args = ("cpu", *args[1:])
        return tensor_to(self, *args, **options)

    monkeypatch.setattr(torch.nn.Module, "to", module)
    monkeypatch.setattr(torch.Tensor, "to", tensor)
    return seen


@pytest.mark.long
@unchecked()
def test_stages_run_there_and_the_codec_on_the_cpu(tmp_path: Path, went: set[tuple[str, str]]) -> None:
    accompanist = Accompanist.from_pretrained(make_tiny_bundle(tmp_path / "tiny"))
    expected = accompanist.generate(VOCAL, sample_rate=RATE, seed=3)
    went.clear()
    accompanist.device = APPLE
    made = accompanist.generate(VOCAL, sample_rate=RATE, seed=3)
    assert went == {("StageModel", "mps"), ("SpectralCodec", "cpu")}
    assert same(made, expected)
    assert made.record.environment.device == "mps"
    went.clear()
    *_, last = accompanist.stream(VOCAL, sample_rate=RATE, seed=3)
    assert went == {("StageModel", "mps"), ("SpectralCodec", "cpu")}
    assert last.accompaniment is not None
    assert same(last.accompaniment, expected)
    went.clear()
    made.save(tmp_path / "out")
    accompanist.regenerate(
        tmp_path / "out" / "generation.json",
        start_seconds=0.2,
        end_seconds=0.5,
        vocal=VOCAL,
        sample_rate=RATE,
    )
    assert went == {("StageModel", "mps"), ("SpectralCodec", "cpu")}
