"""A studio without a model in a process of its own: `python -m tests.web.served FOLDER {"uploads": 4}`.

It prints its port, and serves until it is killed.
"""

import json
import socket
import sys
from pathlib import Path

import uvicorn

from hafm.web.api import make_app
from hafm.web.desk import Desk
from hafm.web.limits import Limits
from hafm.web.store import Store
from tests.web.stub import StubStudio


def main() -> None:
    folder, limits = sys.argv[1:]
    desk = Desk(Store(Path(folder)), limits=Limits(**json.loads(limits)), opener=StubStudio)
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        print(listening.getsockname()[1], flush=True)
        uvicorn.Server(uvicorn.Config(make_app(desk), log_level="error", lifespan="on")).run(
            sockets=[listening]
        )


if __name__ == "__main__":
    main()
