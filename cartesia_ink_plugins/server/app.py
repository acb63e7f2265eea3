"""The local Ink server: an async context manager around one port.

async with InkServer(Script("Hello there.")) as server:
    client = InkTurnsClient(TurnsOptions(base_url=server.url), Credentials(api_key="any"))
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self, TypeAlias

from aiohttp import web

from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.events import ErrorMessage
from cartesia_ink_plugins.server import batch_endpoint
from cartesia_ink_plugins.server.access import credential, is_foreign, requested_version
from cartesia_ink_plugins.server.driver import ConnectionDriver
from cartesia_ink_plugins.server.endpoint import EndpointConnection, Send, encode_error
from cartesia_ink_plugins.server.engine import Engine
from cartesia_ink_plugins.server.fault_text import as_fault
from cartesia_ink_plugins.server.faults import Fault
from cartesia_ink_plugins.server.frame_writer import FrameWriter
from cartesia_ink_plugins.server.frames import WireItem
from cartesia_ink_plugins.server.listener import Handler, Listener
from cartesia_ink_plugins.server.manual_endpoint import ManualConnection, parse_manual_query
from cartesia_ink_plugins.server.manual_engine import BatchEngine, ManualEngine
from cartesia_ink_plugins.server.proxy import FaultProxy
from cartesia_ink_plugins.server.record import ConnectionRecord, masked, masked_path
from cartesia_ink_plugins.server.rules import Rules
from cartesia_ink_plugins.server.script import Script
from cartesia_ink_plugins.server.tokens import Tokens
from cartesia_ink_plugins.server.turns_endpoint import TurnsConnection
from cartesia_ink_plugins.server.validate import Query, RequestRejectedError, parse_query

logger = logging.getLogger(__name__)

Watch: TypeAlias = Callable[[ConnectionRecord, WireItem | None], None]

TURNS_PATH = "/stt/turns/websocket"
MANUAL_PATH = "/stt/websocket"
BATCH_PATH = "/stt"
TOKEN_PATH = "/access-token"
_UNAUTHORIZED = ErrorMessage(401, "The API key or access token is not valid.", "Unauthorized")
_FOREIGN = ErrorMessage(
    403, "Pages of this origin may not connect; allow it with allow_origins.", "Forbidden origin"
)
_MAX_MESSAGE = 8 * 2**20  # bytes; four minutes of 16 kHz, 16-bit audio


class InkServer:
    """A faithful local Ink server.

    Attributes:
        engine: Recognizes the audio.
        rules: Limits and behavior.
        connections: One record for each connection, in order; with `keep` only the newest.
        proxy: Injects the faults; None if there are none.
    """

    def __init__(
        self,
        engine: Engine | Script,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        api_keys: Collection[str] | None = None,
        idle_timeout: float | None = None,
        rules: Rules | None = None,
        faults: Sequence[Fault | str] = (),
        seed: int = 0,
        watch: Watch | None = None,
        keep: int | None = None,
        allow_origins: Collection[str] = (),
    ) -> None:
        """Create a server; nothing happens before `start`.

        Args:
            engine: Recognizes the audio; for a script, its own engine. The server closes it.
            host: Address to listen on.
            port: Port to listen on; 0 is a free one.
            api_keys: Accepted keys and access tokens; None accepts any that is not empty.
            idle_timeout: Seconds without audio until close 1001; None is that of the rules.
            rules: Limits and behavior; the defaults are those of Cartesia's service.
            faults: Faults such as `"reset@turn.update:2"`, injected by a `FaultProxy` in front of
                the server.
            seed: Seed of the random values in the faults.
            watch: Called with a connection's record when it is answered, for each item sent, and
                when it has ended.
            keep: Number of records that are kept; older ones are removed when their connections
                have ended. None keeps all.
            allow_origins: Origins of web pages that may connect, beside those of this machine,
                such as `https://app.example`; `*` is all.
        """
        self.engine: Engine = engine.engine() if isinstance(engine, Script) else engine
        self.rules = rules or Rules()
        if idle_timeout is not None:
            self.rules = replace(self.rules, idle_timeout=idle_timeout)
        self.connections: list[ConnectionRecord] = []
        self._keep = keep
        self._numbers = itertools.count()
        self._host = host
        self._port = port
        self._watch = watch or _ignore
        for argument, strings in (("api_keys", api_keys), ("allow_origins", allow_origins)):
            if isinstance(strings, str):
                raise UsageError(f"{argument}: is one string; give a list of strings")
        self._allow_origins = frozenset(allow_origins)
        self._api_keys = None if api_keys is None else frozenset(api_keys)
        if self._api_keys is not None and "" in self._api_keys:
            raise UsageError("api_keys: one is empty")
        self._tokens = Tokens()
        self.proxy: FaultProxy | None = None
        self._faults, self._seed = tuple(map(as_fault, faults)), seed
        self._drivers: dict[ConnectionRecord, ConnectionDriver] = {}
        self._listener: Listener | None = None
        self._changed = asyncio.Event()

    @property
    def url(self) -> str:
        """The base URL, such as `http://127.0.0.1:8765`."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def port(self) -> int:
        """The port; before `start` the configured one."""
        return self._port

    @property
    def websocket_url(self) -> str:
        """The URL of the turns endpoint."""
        return f"{self.url.replace('http', 'ws', 1)}{TURNS_PATH}"

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: The port is in use or the address is not local.
            UsageError: The server is running.
        """
        if self._listener is not None:
            raise UsageError("start: the server is running")
        app = web.Application(middlewares=[self._reject_foreign])
        app.router.add_get(TURNS_PATH, self._turns)
        app.router.add_get(MANUAL_PATH, self._manual)
        app.router.add_post(BATCH_PATH, self._batch)
        app.router.add_post(TOKEN_PATH, self._token)
        app.router.add_route("*", "/{path:.*}", self._unknown_path)
        listener = Listener(app, self.rules.request_timeout)
        await self._listen(listener)
        self._listener = listener

    async def _listen(self, listener: Listener) -> None:
        """Listen on the configured port, or on another one behind the fault proxy."""
        if not self._faults:
            self._port = await listener.start(self._host, self._port)
            return
        inner = f"http://127.0.0.1:{await listener.start('127.0.0.1', 0)}"
        self.proxy = FaultProxy(
            inner, self._faults, host=self._host, port=self._port, seed=self._seed
        )
        try:
            await self.proxy.start()
        except OSError:
            await listener.stop()
            raise
        self._port = self.proxy.port

    async def stop(self) -> None:
        """Close every connection with 1001; leave no task or socket; idempotent."""
        listener, self._listener = self._listener, None
        if listener is not None:
            self.close_all(1001, "Server is going away")
            await listener.stop()
            if self.proxy is not None:
                await self.proxy.stop()
            await self.engine.aclose()

    def close_all(self, code: int = 1012, reason: str = "Service restart") -> None:
        """Close all connections at once, as a deploy of the service does."""
        for driver in list(self._drivers.values()):
            driver.close(code, reason)

    async def wait_for_connection(self, number: int = 0) -> ConnectionRecord:
        """Wait until connection `number`, from 0, has been answered."""
        while True:
            for record in self.connections:
                if record.number == number and record.status is not None:
                    return record
            self._changed.clear()
            await self._changed.wait()

    async def wait_until_idle(self) -> None:
        """Wait until no connection is open."""
        while self._drivers:
            self._changed.clear()
            await self._changed.wait()

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        await self.stop()

    @web.middleware
    async def _reject_foreign(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Reject a request of a web page of a foreign origin."""
        if is_foreign(request.headers.get("Origin"), self._allow_origins):
            return self._reject(request, self._record(request), _FOREIGN)
        return await handler(request)

    async def _turns(self, request: web.Request) -> web.StreamResponse:
        """Answer a request for `/stt/turns/websocket`."""
        record, engine, version = self._record(request), self.engine, requested_version(request)

        def make(send: Send) -> EndpointConnection:
            return TurnsConnection(record, engine, self.rules, version, send)

        return await self._stream(request, record, parse_query, make)

    async def _manual(self, request: web.Request) -> web.StreamResponse:
        """Answer a request for `/stt/websocket`."""
        record, engine, version = self._record(request), self.engine, requested_version(request)
        if not isinstance(engine, ManualEngine):
            return self._reject(request, record, _not_found(request))

        def make(send: Send) -> EndpointConnection:
            return ManualConnection(record, engine, self.rules, version, send)

        return await self._stream(request, record, parse_manual_query, make)

    async def _batch(self, request: web.Request) -> web.StreamResponse:
        """Answer a request for `POST /stt`."""
        record, engine = self._record(request), self.engine
        if not self._is_authorized(request):
            return self._reject(request, record, _UNAUTHORIZED)
        if not isinstance(engine, BatchEngine):
            return self._reject(request, record, _not_found(request))
        try:
            answer = await batch_endpoint.transcribe(request, record, engine, self.rules)
        except RequestRejectedError as rejection:
            return self._reject(request, record, rejection.answer)
        except UsageError as error:
            return self._reject(request, record, ErrorMessage(400, str(error), "Invalid request"))
        record.add_sent([json.dumps(answer)])
        self._answered(record, 200)
        return web.json_response(answer, headers={"X-Request-Id": record.request_id})

    async def _token(self, request: web.Request) -> web.Response:
        """Answer a request for `POST /access-token`."""
        record, given = self._record(request), credential(request)
        if given in self._tokens or not self._is_authorized(request):
            return self._reject(request, record, _UNAUTHORIZED)
        try:
            async with asyncio.timeout(self.rules.request_timeout):
                body = await request.read()
            token = self._tokens.issue(body, _now())
        except TimeoutError:
            return self._reject(request, record, batch_endpoint.request_timeout().answer)
        except RequestRejectedError as rejection:
            return self._reject(request, record, rejection.answer)
        self._answered(record, 200)
        return web.json_response({"token": token}, headers={"X-Request-Id": record.request_id})

    async def _stream(
        self,
        request: web.Request,
        record: ConnectionRecord,
        parse: Callable[[Query, Rules], object],
        make: Callable[[Send], EndpointConnection],
    ) -> web.StreamResponse:
        """Answer a request for one of the streaming endpoints."""
        rejection = self._rejection(request, record, parse)
        if rejection is not None:
            return self._reject(request, record, rejection)
        websocket = web.WebSocketResponse(
            autoping=False, autoclose=False, compress=False, max_msg_size=_MAX_MESSAGE
        )
        websocket.headers["X-Request-Id"] = record.request_id
        try:
            await websocket.prepare(request)
        except ConnectionResetError:  # the client disconnected before our answer
            record.close_code = 1006
            self._answered(record, 101)
            return web.Response()  # never sent; an unprepared WebSocket cannot be closed
        assert request.transport is not None
        writer = FrameWriter(request.transport)
        self._answered(record, 101)
        logger.info("connection %d: open, request_id %s", record.number, record.request_id)

        def send(items: Sequence[WireItem]) -> None:
            writer.send(items)
            for item in items:
                self._watch(record, item)

        driver = ConnectionDriver(websocket, writer, make(send), record)
        self._drivers[record] = driver
        try:
            await driver.run()
        finally:
            del self._drivers[record]
            logger.info("connection %d: closed, %s", record.number, record.close_code)
            self._changed.set()
            self._watch(record, None)
        return websocket

    def _record(self, request: web.Request) -> ConnectionRecord:
        record = ConnectionRecord(
            number=next(self._numbers),
            request_id=str(uuid.uuid4()),
            path=masked_path(request.path),
            query=masked(request.query.items()),
            headers=dict(masked((k.lower(), v) for k, v in request.headers.items())),
        )
        self.connections.append(record)
        if self._keep is not None:
            ended = [old for old in self.connections if old.status and not old.is_open]
            for old in ended[: max(0, len(self.connections) - self._keep)]:
                self.connections.remove(old)
        return record

    def _rejection(
        self,
        request: web.Request,
        record: ConnectionRecord,
        parse: Callable[[Query, Rules], object],
    ) -> ErrorMessage | None:
        """Return the error that the upgrade is answered with; None accepts it."""
        if not self._is_authorized(request):
            return _UNAUTHORIZED
        limit = self.rules.max_streams
        if limit is not None and len(self._drivers) >= limit:
            return ErrorMessage(
                429, "Too many concurrent streams.", "Too many requests", "concurrency_limited"
            )
        if self.rules.reject_settings == "http":
            try:
                parse(record.query, self.rules)
            except RequestRejectedError as rejection:
                return rejection.answer
        if not web.WebSocketResponse().can_prepare(request):
            return ErrorMessage(426, "This is a WebSocket endpoint.", "Upgrade required")
        return None

    def _is_authorized(self, request: web.Request) -> bool:
        """Check the credentials; a token issued by this server is valid until it expires."""
        given = credential(request)
        if given in self._tokens:
            return self._tokens.is_valid(given, _now())
        return bool(given) and (self._api_keys is None or given in self._api_keys)

    def _reject(
        self, request: web.Request, record: ConnectionRecord, error: ErrorMessage
    ) -> web.Response:
        record.client_error = error.message
        self._answered(record, error.status)
        body = json.loads(encode_error(error, requested_version(request)))
        return web.json_response(
            {**body, "request_id": record.request_id},
            status=error.status,
            headers={"X-Request-Id": record.request_id},
        )

    def _answered(self, record: ConnectionRecord, status: int) -> None:
        record.status = status
        self._changed.set()
        self._watch(record, None)

    async def _unknown_path(self, request: web.Request) -> web.Response:
        return self._reject(request, self._record(request), _not_found(request))


def _not_found(request: web.Request) -> ErrorMessage:
    return ErrorMessage(404, f"No endpoint at {masked_path(request.path)}.", "Not found")


def _now() -> float:
    return asyncio.get_running_loop().time()


def _ignore(record: ConnectionRecord, item: WireItem | None) -> None:
    """Do nothing."""
