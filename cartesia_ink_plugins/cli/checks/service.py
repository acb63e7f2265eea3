"""Whether the service accepts the key, on both streaming endpoints, and how far away it is.

No audio is sent, so that nothing is billed. `POST /stt` is not asked: it would be.
"""

from __future__ import annotations

import asyncio
import ssl
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from cartesia_ink_plugins.cli.checks.finding import Finding, Status
from cartesia_ink_plugins.core.credentials import Credentials
from cartesia_ink_plugins.core.events import Connected, ErrorMessage
from cartesia_ink_plugins.core.net.connector import Connector
from cartesia_ink_plugins.core.net.http_errors import read_answer
from cartesia_ink_plugins.core.net.websocket import Callbacks
from cartesia_ink_plugins.core.options import ConnectionOptions, ManualOptions, TurnsOptions
from cartesia_ink_plugins.core.wire import decode

_PINGS = 3  # enough for a median
# Seconds of a round trip above which a caller notices: it is added to the start of a turn, when the
# bot is to be silent, and to its end.
_FAR = 0.15

_ADVICE: Mapping[int, str] = {
    400: "update this package, or check the model and the base URL",
    401: "copy the key again, whole and without quotes, and see that it was not revoked",
    402: "add credit, or choose a plan that has this endpoint",
    403: "see that the key may use speech-to-text, and that no firewall stands in between",
    404: "check the base URL: there is no Ink at that address",
    429: "close some streams: the plan allows no more at a time",
}


@dataclass(slots=True)
class Answer:
    """What came of one attempt.

    Attributes:
        status: HTTP status, or that of an error message; None if there was none.
        message: What was answered or what went wrong, without our secrets.
        request_id: To quote to Cartesia's support.
        seconds: Until the connection was accepted; None if it was not.
        round_trips: Seconds of each ping.
    """

    status: int | None = None
    message: str = ""
    request_id: str | None = None
    seconds: float | None = None
    round_trips: list[float] = field(default_factory=list)


class _Attempt:
    """One connection that is opened, pinged and dropped."""

    def __init__(self, credentials: Credentials, ssl_context: ssl.SSLContext | None) -> None:
        callbacks = Callbacks(
            on_open=self._opened,
            on_reject=self._rejected,
            on_message=self._message,
            on_pong=lambda _: self._pong(),
            on_read=lambda: None,
            on_writable=lambda _: None,
            on_lost=lambda reason, _: self._end(reason),
        )
        self._connector = Connector(credentials, ssl_context, callbacks)
        self._answer = Answer()
        self._ended = asyncio.Event()
        self._is_turns = False
        self._began = self._pinged = 0.0

    async def make(self, options: ConnectionOptions, timeout: float) -> Answer:
        """Connect, and wait for the answer and the pongs."""
        self._is_turns = isinstance(options, TurnsOptions)
        self._began = time.monotonic()
        self._connector.connect(options)
        try:
            async with asyncio.timeout(timeout):
                await self._ended.wait()
        except TimeoutError:
            self._answer.message = f"no answer within {timeout:g} s"
            self._answer.seconds = None
        self._connector.drop()
        await self._connector.wait_closed()
        return self._answer

    def _opened(self, request_id: str | None) -> None:
        self._answer.request_id = request_id
        if not self._is_turns:  # the manual endpoint says nothing
            self._accepted()

    def _accepted(self) -> None:
        self._answer.seconds = time.monotonic() - self._began
        self._ping()

    def _ping(self) -> None:
        self._pinged = time.monotonic()
        if (connection := self._connector.connection) is not None:
            connection.ping(len(self._answer.round_trips))
            connection.flush()

    def _pong(self) -> None:
        self._answer.round_trips.append(time.monotonic() - self._pinged)
        if len(self._answer.round_trips) == _PINGS:
            self._ended.set()
        else:
            self._ping()

    def _message(self, data: str | bytes) -> None:
        match decode(data):
            case Connected() if self._answer.seconds is None:
                self._accepted()
            case ErrorMessage(status=status, message=message, request_id=request_id):
                self._answer.status = status
                self._answer.request_id = request_id or self._answer.request_id
                self._end(message)

    def _rejected(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        answer = read_answer(headers, body, self._connector.redact)
        self._answer.status, self._answer.request_id = status, answer.request_id
        self._end(answer.message)

    def _end(self, message: str) -> None:
        if not self._ended.is_set():
            self._answer.message, self._answer.seconds = message, None
            self._ended.set()


async def check_service(
    base_url: str,
    credentials: Credentials,
    secret: str,
    timeout: float,
    ssl_context: ssl.SSLContext | None = None,
) -> list[Finding]:
    """Connect to both streaming endpoints as a bot does.

    Args:
        base_url: Where the API is.
        credentials: What is offered.
        secret: What it is called in a finding, such as `the key in CARTESIA_API_KEY`.
        timeout: Seconds for each endpoint.
        ssl_context: Another one than the client's default.
    """
    findings, round_trips = [], []
    for name, options in (
        ("turns", TurnsOptions(base_url=base_url)),
        ("manual", ManualOptions(base_url=base_url)),
    ):
        answer = await _Attempt(credentials, ssl_context).make(options, timeout)
        findings.append(_judged(name, options, answer, secret))
        round_trips += answer.round_trips
    return [*findings, _distance(round_trips)]


def _judged(name: str, options: ConnectionOptions, answer: Answer, secret: str) -> Finding:
    host = options.url().split("?")[0]
    if answer.seconds is not None:
        took = f"{1000 * answer.seconds:.0f} ms"
        return Finding(name, Status.OK, f"{secret} is accepted by {host} ({took})")
    answered = f"{answer.status}" if answer.status is not None else ""
    answered = " ".join(filter(None, (answered, answer.message))) or "the connection was closed"
    quote = f" (request id {answer.request_id})" if answer.request_id else ""
    # Too many streams at the moment: the key is right, and the bot asks again.
    status = Status.WARNING if answer.status == 429 else Status.PROBLEM
    advice = _ADVICE.get(answer.status or 0, "try again; if it stays so, ask Cartesia's support")
    return Finding(name, status, f"{secret} is not accepted by {host}: {answered}{quote}", advice)


def _distance(round_trips: list[float]) -> Finding:
    if not round_trips:
        return Finding("round trip", Status.UNCHECKED, "no connection was accepted")
    seconds = statistics.median(round_trips)
    told = f"{1000 * seconds:.0f} ms (median of {len(round_trips)} pings)"
    if seconds <= _FAR:
        return Finding("round trip", Status.OK, told)
    return Finding(
        "round trip",
        Status.WARNING,
        f"{told}: the start and the end of each turn are known that much later",
        "run the bot nearer to the endpoint, or use an endpoint in your region",
    )
