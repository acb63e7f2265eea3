"""`InkBatchSTTService`: each utterance that the VAD cuts out is transcribed as a file."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
from loguru import logger
from pipecat.frames.frames import ErrorFrame, Frame, TranscriptionFrame
from pipecat.processors.frame_processor import FrameProcessorSetup
from pipecat.services.settings import STTSettings
from pipecat.services.stt_latency import CARTESIA_TTFS_P99
from pipecat.services.stt_service import SegmentedSTTService
from pipecat.transcriptions.language import Language
from pipecat.utils.time import time_now_iso8601
from pipecat.utils.types import is_given

from cartesia_ink_plugins.core.credentials import Credentials
from cartesia_ink_plugins.core.errors import TranscriptionError, UsageError, is_permanent
from cartesia_ink_plugins.core.net.batch import transcribe
from cartesia_ink_plugins.core.options import ManualOptions
from cartesia_ink_plugins.core.validation import insecure_allowed
from cartesia_ink_plugins.pipecat.reuse import begin_anew
from cartesia_ink_plugins.pipecat.tracing import TracedSTTService


class InkBatchSTTService(TracedSTTService, SegmentedSTTService):
    """Speech-to-text with Cartesia Ink, one request for each utterance.

    Needs a VAD in the pipeline. Slower than a stream, and it needs none: for languages that only
    whisper has, or where a connection must not stay open.

    Example::

        stt = InkBatchSTTService(settings=InkBatchSTTService.Settings(language="de"))
    """

    Settings = STTSettings

    def __init__(
        self,
        *,
        api_key: str | None = None,
        credentials: Credentials | None = None,
        base_url: str | None = None,
        timeout: float = 10.0,
        retries: int = 2,
        word_timestamps: bool = False,
        allow_insecure: bool | None = None,
        aiohttp_session: aiohttp.ClientSession | None = None,
        settings: STTSettings | None = None,
        ttfs_p99_latency: float | None = CARTESIA_TTFS_P99,
        **kwargs: Any,
    ) -> None:
        """Set up the service; nothing is sent before somebody has spoken.

        Args:
            api_key: Cartesia API key. Without it and `credentials`, `CARTESIA_API_KEY` is used.
            credentials: Another way to prove who you are, such as a token provider.
            base_url: The API, or a server that speaks like it. Without it, `CARTESIA_BASE_URL` or
                Cartesia's own.
            timeout: Seconds without progress until an attempt is given up.
            retries: How often to try again after a lost connection, 429 or 5xx.
            word_timestamps: Whether the frame's `result` has the words with their times.
            allow_insecure: Whether key and audio may go unencrypted to another machine; by default
                only if `CARTESIA_ALLOW_INSECURE` is 1.
            aiohttp_session: Used, and left open, if given.
            settings: `model` (`ink-whisper` by default) and `language` (English by default).
            ttfs_p99_latency: As of Pipecat's own service.
            **kwargs: Arguments of Pipecat's `SegmentedSTTService`.

        Raises:
            UsageError: A value is wrong; the message names the argument.
        """
        if api_key and credentials:
            raise UsageError("credentials: give either api_key or credentials")
        store = STTSettings(model="ink-whisper", language=Language.EN)
        if settings is not None:
            store.apply_update(settings)
        where: dict[str, Any] = {"base_url": base_url} if base_url else {}
        # Where files go is where streams go, and is checked alike.
        self._options = ManualOptions(
            model=str(store.model),
            language=_code(store.language),
            allow_insecure=insecure_allowed(allow_insecure),
            **where,
        )
        super().__init__(settings=store, ttfs_p99_latency=ttfs_p99_latency, **kwargs)
        if credentials is None and api_key:
            credentials = Credentials(api_key=api_key)
        self._credentials = credentials or Credentials.from_environment()
        self._timeout = timeout
        self._retries = retries
        self._word_timestamps = word_timestamps
        self._http = aiohttp_session
        self._own_http: aiohttp.ClientSession | None = None

    def can_generate_metrics(self) -> bool:
        """Usage, processing and latency metrics are generated."""
        return True

    def language_to_service_language(self, language: Language) -> str:
        """The language as the API writes it: `en` for `en-US`.

        Args:
            language: The language.
        """
        return str(language.value).partition("-")[0]

    async def setup(self, setup: FrameProcessorSetup) -> None:  # type: ignore[override]
        """Get ready for a pipeline, which need not be the first.

        Args:
            setup: The pipeline's configuration.
        """
        await super().setup(setup)
        await begin_anew(self)

    async def cleanup(self) -> None:
        """Close what was opened here."""
        await super().cleanup()  # type: ignore[no-untyped-call]
        session, self._own_http = self._own_http, None
        if session is not None:
            await session.close()

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame | None, None]:
        """Transcribe one utterance.

        Args:
            audio: A WAV file.

        Yields:
            A transcription, verbatim, unless nothing was said; or an error.
        """
        language = _code(self._settings.language)
        try:
            await self.start_processing_metrics()
            result = await transcribe(
                audio,
                model=str(self._settings.model),
                language=language,
                word_timestamps=self._word_timestamps,
                credentials=self._credentials,
                base_url=self._options.base_url,
                allow_insecure=self._options.allow_insecure,
                timeout=self._timeout,
                retries=self._retries,
                http_session=self._session(),
            )
        except TranscriptionError as error:
            logger.warning(f"{self}: {error}")
            if error.status is not None and is_permanent(error.status):
                await self._call_event_handler("on_connection_error", str(error))
            yield ErrorFrame(error=f"Ink could not transcribe: {error}", exception=error)
            return
        finally:
            await self.stop_processing_metrics()
        if not result.text.strip():
            return
        detected = result.language or language
        known = next((known for known in Language if known.value == detected), None)
        await self._handle_transcription(result.text, True, known)
        yield TranscriptionFrame(result.text, self._user_id, time_now_iso8601(), known, result)

    def _session(self) -> aiohttp.ClientSession:
        if self._http is not None:
            return self._http
        if self._own_http is None:
            self._own_http = aiohttp.ClientSession()
        return self._own_http


def _code(language: object) -> str | None:
    return str(language) if is_given(language) and language else None
