"""The server: a socket that is there before anything else, and uvicorn on it.

In: an address. Out: the studio, until the process is asked to end.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from hafm.errors import UsageError
from hafm.web.api import make_app
from hafm.web.desk import Desk
from hafm.web.limits import Limits
from hafm.web.store import Store

__all__ = ["LOCK", "listen", "serve"]

LOCK = "studio.lock"
_MOST_CONNECTIONS = 200
_IDLE_SECONDS = 10
_LOOK_SECONDS = 0.5
_CLOSING_SECONDS = 10.0


@contextlib.contextmanager
def listen(host: str, port: int) -> Iterator[tuple[socket.socket, str]]:
    """A socket that listens, and the address for a browser.

    Args:
        host: an address of this machine.
        port: 0 for a free one.

    Raises:
        UsageError: the address is none of this machine's, or the port is in use.

    >>> with listen("127.0.0.1", 0) as (_, address):
    ...     print(address)
    http://127.0.0.1:...
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((host, port))
            found.listen(128)
        except OSError as error:
            raise UsageError(
                f"cannot listen on {host}, port {port} ({error.strerror or error}); is another studio open? "
                "give another --port, or 0 for a free one"
            ) from error
        name = f"[{host}]" if family == socket.AF_INET6 else host
        yield found, f"http://{name}:{found.getsockname()[1]}"


class _Server(uvicorn.Server):
    """Signals are the program's affair."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(
    listening: socket.socket,
    *,
    folder: Path,
    limits: Limits,
    bundle: str,
    device: str,
    host: str,
    password: str | None,
) -> None:
    """Serves the studio; ends with an exception of a signal's handler.

    Args:
        listening: of `listen`.
        folder: of the projects.
        limits: of everything.
        bundle, device: of the model.
        host: that is listened on.
        password: that browsers must give.
    """
    desk = Desk(Store(folder), limits=limits, bundle=bundle, device=device)
    config = uvicorn.Config(
        make_app(desk, host=host, password=password),
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        ws="none",
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=1,
    )
    # Signals come to the main thread; what they raise would tear the event loop, which says so at length.
    server = _Server(config)
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [listening]}, name="hafm-server", daemon=True
    )
    thread.start()
    try:
        while thread.is_alive():
            thread.join(_LOOK_SECONDS)
    finally:
        server.should_exit = True
        thread.join(_CLOSING_SECONDS)
        desk.close()
