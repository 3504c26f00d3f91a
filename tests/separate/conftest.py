"""A separator of any tiny net."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hafm.separate.separator import Separator
from tests.separate import nets

Opened = Callable[..., Separator]


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    """`opened(nets.identity, dim_f=20)`: the net, with numbers other than `nets.config`'s."""

    def call(net: nets.Net, *, threads: int = 1, **changes: Any) -> Separator:
        path = nets.write_net(tmp_path / "net", net, described_as=nets.config(**changes))
        return Separator.open(path, threads=threads)

    return call
