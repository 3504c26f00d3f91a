"""What every request passes before anything else looks at it.

In: an ASGI application. Out: the same, behind checks:

| check | against | answer |
|---|---|---|
| Host is this machine (or an address of it) | DNS rebinding | 403 |
| Origin, if there is one, is this page; Sec-Fetch-Site is no other site | a page elsewhere (CSRF) | 403 |
| password, if there is one (HTTP Basic) | others in the network | 401 |
| the body's length, claimed and real | memory | 413 |
| every part of the body comes in time | slow senders | 408 |

Every answer carries a content security policy that allows this origin alone, and is not cached by others.
Convention: the one request with a large body, an upload, has its own limit.
"""

import asyncio
import base64
import hmac
import ipaddress
import json
import secrets
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hafm.web.limits import Limits

__all__ = ["Gate", "TooLargeError", "TooSlowError", "is_loopback"]

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; connect-src 'self'; worker-src 'self'; font-src 'self'; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("x-frame-options", "DENY"),
    ("permissions-policy", "microphone=(self), camera=(), geolocation=()"),
)
_WRONG_PASSWORD_SECONDS = 0.5
_MOST_HEADER_BYTES = 16_384


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Gate:
    """The checks.

    Args:
        password: that is asked for; None for none.
    """

    def __init__(self, app: ASGIApp, *, limits: Limits, host: str, password: str | None) -> None:
        self.app = app
        self.limits = limits
        self.host = host
        self.password = password

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection, as ASGI has it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        nonce = secrets.token_urlsafe(12)
        scope.setdefault("state", {})["nonce"] = nonce
        began = False

        async def guarded(message: Message) -> None:
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                guards = [*_HEADERS, ("content-security-policy", _POLICY.format(nonce=nonce))]
                message["headers"] = [*message["headers"], *_header_bytes(guards)]
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            status, text = refusal
            if status == 401:
                await asyncio.sleep(_WRONG_PASSWORD_SECONDS)
            await _answer(guarded, status, text)
            return
        most = self._most_bytes(scope)
        reader = _Reader(receive, most=most, stall_seconds=self.limits.stall_seconds)
        try:
            await self.app(scope, reader, guarded)
        except (TooLargeError, TooSlowError) as error:
            if not began:
                await _answer(guarded, error.status, error.text)

    def _most_bytes(self, scope: Scope) -> int:
        is_upload = scope["method"] == "POST" and scope["path"] == "/v1/projects"
        return self.limits.upload_bytes if is_upload else self.limits.body_bytes

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            key = name.decode("latin-1").lower()
            if key in ("host", "origin", "content-length") and key in headers:
                return 400, f"there are two headers {key}"
            headers[key] = value.decode("latin-1")
        if sum(len(name) + len(value) for name, value in scope["headers"]) > _MOST_HEADER_BYTES:
            return 431, "the headers are too long"
        host = headers.get("host", "")
        if not self._is_own(host):
            return (403, f"this studio does not answer to {host[:80]!r}; open it at the address that it says")
        origin = headers.get("origin")
        if origin is not None and origin.lower() != f"{scope.get('scheme', 'http')}://{host.lower()}":
            return 403, "a page of another origin may not use this studio"
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and scope["path"] != "/":
            return 403, "a page of another site may not use this studio"
        if self.password is not None and not self._has_password(headers.get("authorization", "")):
            return 401, "this studio asks for its password"
        length = headers.get("content-length", "0")
        if not length.isdecimal() or len(length) > 15:
            return 400, "the header content-length is no length"
        if int(length) > self._most_bytes(scope):
            return 413, _too_large(self._most_bytes(scope))
        return None

    def _is_own(self, host: str) -> bool:
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        name = name.strip("[]").lower()
        if is_loopback(name):
            return True
        if is_loopback(self.host):
            return False
        # A page elsewhere can make a name of its own point here, but not an address.
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name == self.host.lower()
        return True

    def _has_password(self, header: str) -> bool:
        assert self.password is not None, "there is one"
        kind, _, value = header.partition(" ")
        try:
            given = base64.b64decode(value, validate=True).decode().partition(":")[2]
        except ValueError:
            return False
        return kind.lower() == "basic" and hmac.compare_digest(given.encode(), self.password.encode())


class TooLargeError(Exception):
    """A body has more bytes than it may."""

    status = 413

    def __init__(self, most: int) -> None:
        super().__init__("too large")
        self.text = _too_large(most)


class TooSlowError(Exception):
    """A body paused too long."""

    status = 408
    text = "the request came in too slowly; try again"


class _Reader:
    """A body, counted and timed as it comes."""

    def __init__(self, receive: Receive, *, most: int, stall_seconds: float) -> None:
        self._receive = receive
        self._most = most
        self._stall_seconds = stall_seconds
        self._read = 0
        self._is_whole = False

    async def __call__(self) -> Message:
        if self._is_whole:  # from now on only the end of the connection comes
            return await self._receive()
        try:
            async with asyncio.timeout(self._stall_seconds):
                message = await self._receive()
        except TimeoutError:
            raise TooSlowError from None
        if message["type"] == "http.request":
            self._read += len(message.get("body", b""))
            self._is_whole = not message.get("more_body", False)
            if self._read > self._most:
                raise TooLargeError(self._most)
        return message


def _too_large(most: int) -> str:
    return f"the request has more than {most / 1e6:g} MB; give a shorter recording, or compress it"


def _header_bytes(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


async def _answer(send: Send, status: int, text: str) -> None:
    body = json.dumps({"error": {"kind": "Refused", "message": text}}).encode()
    headers = [("content-type", "application/json"), ("content-length", str(len(body)))]
    if status == 401:
        headers.append(("www-authenticate", 'Basic realm="HAFM studio", charset="UTF-8"'))
    if status in (408, 413):
        headers.append(("connection", "close"))
    await send({"type": "http.response.start", "status": status, "headers": _header_bytes(headers)})
    await send({"type": "http.response.body", "body": body})
