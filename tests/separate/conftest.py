"""A separator of any tiny net."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hafm.separate.separator import Separator
from tests.separate import onnx_nets

Opened = Callable[..., Separator]


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    """`opened(onnx_nets.identity, dim_f=20)`: the net, with numbers other than `onnx_nets.config`'s."""

    def call(net: onnx_nets.Net, *, threads: int = 1, **changes: Any) -> Separator:
        path = onnx_nets.write_net(tmp_path / "net", net, described_as=onnx_nets.config(**changes))
        return Separator.open(path, threads=threads)

    return call
