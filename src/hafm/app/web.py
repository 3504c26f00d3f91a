"""`hafm web`: the studio, a page on this machine.

In: options. Out: a server that runs until Ctrl-C.

    address? folder? port? bundle?   ->   the address, in one line; a browser, if there is one   ->   serve
    `----- refused before anything -'

The service itself is made by `hafm.web.api`; start to read there.
"""

import os
import sys
import threading
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hafm.app import options
from hafm.app.command import Command, Range, flag, option
from hafm.app.interrupt import Interrupts
from hafm.errors import OutputError, UsageError

if TYPE_CHECKING:
    from hafm.app.display import Display

__all__ = ["Web"]

_WHERE, _BOUNDS = "Where it is", "What it takes and keeps"
_FOLDER = Path("~/hafm-studio")
_PASSWORD_VARIABLE = "HAFM_WEB_PASSWORD"
_LEAST_PASSWORD = 8


@dataclass(frozen=True, kw_only=True)
class WebOutcome:
    """The studio was closed."""

    folder: Path

    def summary(self) -> str:
        return f"{'projects':<14} {self.folder}"

    def to_json(self) -> dict[str, Any]:
        return {"folder": str(self.folder)}


@dataclass(frozen=True, kw_only=True)
class Web(Command):
    """Open the studio: a page on which to sing, see the chart, correct it, and get the band.

    Nothing leaves this machine, and nothing is fetched from elsewhere.
    """

    folder: Path | None = option("Where projects are.", "FOLDER", _WHERE, shown=str(_FOLDER))
    port: int = option("Of the page; 0 takes a free one.", "N", _WHERE, default=8642, within=Range(0, 65_535))
    host: str = option(
        "Address to listen on; any but this machine's own needs a password.",
        "IP",
        _WHERE,
        default="127.0.0.1",
    )
    password: str | None = option(
        f"What browsers must give; {_PASSWORD_VARIABLE} keeps it out of the list of processes.",
        "WORD",
        _WHERE,
        shown=False,
    )
    no_browser: bool = flag("Open no browser.", _WHERE)
    upload_mb: float = option(
        "Of one recording.", "MB", _BOUNDS, default=25.0, within=Range(0, 2000, open=True)
    )
    minutes: float = option("Of one recording.", "N", _BOUNDS, default=10.0, within=Range(0, 10, open=True))
    keep_days: float = option(
        "Projects that are not kept go so long after their last use.",
        "N",
        _BOUNDS,
        default=7.0,
        within=Range(0, open=True),
    )
    job_minutes: float = option(
        "A generation may take.", "N", _BOUNDS, default=60.0, within=Range(0, open=True)
    )
    bundle: str = options.bundle()
    device: str = options.device()

    examples: ClassVar = (
        "hafm web",
        "hafm web --folder ~/songs --keep-days 30",
        "hafm web --host 0.0.0.0 --password 'correct horse'",
    )

    def check(self) -> None:
        password = self._password
        if password is not None and len(password) < _LEAST_PASSWORD:
            raise UsageError(f"the password has {len(password)} letters; give {_LEAST_PASSWORD} or more")

    @property
    def _password(self) -> str | None:
        return os.environ.get(_PASSWORD_VARIABLE) if self.password is None else self.password

    def run(self, shown: "Display", interrupts: Interrupts) -> WebOutcome:
        if find_spec("fastapi") is None or find_spec("uvicorn") is None:
            raise UsageError("the studio needs fastapi and uvicorn; install them: pip install 'hafm[web]'")
        from hafm.device import find_device
        from hafm.locks import locked_folder
        from hafm.stages.bundle import Bundle
        from hafm.stages.hub import BUILTIN
        from hafm.web.gate import is_loopback
        from hafm.web.limits import Limits
        from hafm.web.server import LOCK, listen, serve

        if not is_loopback(self.host) and self._password is None:
            raise UsageError(
                f"--host {self.host} opens the studio to every machine that reaches this one: they could "
                "hear and delete your recordings; add --password"
            )
        find_device(self.device)
        limits = Limits(
            upload_bytes=round(self.upload_mb * 1e6),
            sound_seconds=60 * self.minutes,
            lifetime_seconds=86_400 * self.keep_days,
            generate_seconds=60 * self.job_minutes,
        )
        folder = (_FOLDER if self.folder is None else self.folder).expanduser().absolute()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"'{folder}' cannot be made ({error.strerror}); name another --folder"
            ) from error
        shown.step("opening the bundle")
        if self.bundle != BUILTIN:
            Bundle.open(self.bundle)  # refuses one that is damaged
        with (
            locked_folder(folder, name=LOCK, elsewhere="--folder"),
            listen(self.host, self.port) as (socket, address),
        ):
            self._say(address)
            interrupts.left = f"the studio is closed; its projects are in '{folder}'"
            serve(
                socket,
                folder=folder,
                limits=limits,
                bundle=self.bundle,
                device=self.device,
                host=self.host,
                password=self._password,
            )
        return WebOutcome(folder=folder)

    def _say(self, address: str) -> None:
        if not self.quiet:
            print(f"the studio is at {address}  (Ctrl-C closes it)", file=sys.stderr, flush=True)
            if self._password is not None:
                print(
                    "note: password and sounds travel unencrypted; use it in networks that you trust",
                    file=sys.stderr,
                )
        if not self.no_browser:
            import webbrowser

            threading.Timer(1.0, webbrowser.open, [address]).start()
