"""`InkManualSTTService`: Pipecat decides when the user is done, Ink writes down what was said."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from loguru import logger
from pipecat.frames.frames import (
    Frame,
    InterimTranscriptionFrame,
    STTMuteFrame,
    TranscriptionFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.settings import STTSettings
from pipecat.services.stt_latency import CARTESIA_TTFS_P99
from pipecat.transcriptions.language import Language
from pipecat.utils.time import time_now_iso8601
from pipecat.utils.types import NotGiven, is_given

from cartesia_ink_plugins.core.credentials import Credentials
from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.events import Final, Interim
from cartesia_ink_plugins.core.models import model_named
from cartesia_ink_plugins.core.net.manual_client import InkManualClient
from cartesia_ink_plugins.core.options import ManualOptions, Resilience
from cartesia_ink_plugins.observe.options import Record
from cartesia_ink_plugins.pipecat.managed_client import ManagedClient
from cartesia_ink_plugins.pipecat.service import InkStreamingSTTService
from cartesia_ink_plugins.pipecat.settings import not_given

# For whisper: what is silence, and how much of it ends an utterance.
SILENCE_OPTIONS = ["min_volume", "max_silence_duration_secs"]


def _is_set(value: object) -> bool:
    return is_given(value) and value not in (None, "", [])


@dataclass
class InkManualSTTSettings(STTSettings):
    """Settings of `InkManualSTTService`.

    A change of the key terms takes effect in the next pause; a change of anything else at once,
    with the words said so far as a transcription of their own. No audio is lost. What the model
    does not take is ignored, and the log says so.

    Parameters:
        keyterm: Words to expect: at most 100 terms and 1200 characters in total; not for whisper.
        min_volume: Loudness, 0 to 1, below which nothing is speech; for whisper only. None, as
            with the next one, leaves it to the server.
        max_silence_duration_secs: Seconds of silence after which the server takes an utterance to
            be over, without `finalize`; for whisper only.
    """

    keyterm: list[str] | NotGiven | None = field(default_factory=not_given)
    min_volume: float | NotGiven | None = field(default_factory=not_given)
    max_silence_duration_secs: float | NotGiven | None = field(default_factory=not_given)

    @property
    def without_meaning(self) -> list[str]:
        """The fields that are set and that the model does not take."""
        model = model_named(str(self.model))
        fields = [] if model.has_keyterms else ["keyterm"]
        fields += [] if model.has_silence_options else SILENCE_OPTIONS
        return [name for name in fields if _is_set(getattr(self, name))]

    def options(self) -> dict[str, Any]:
        """What the connection is asked for, as arguments of `ManualOptions`."""
        arguments = {"keyterm": "keyterms"}
        names = {"language", "keyterm", *SILENCE_OPTIONS} - {*self.without_meaning}
        return {"model": str(self.model)} | {
            arguments.get(name, name): value
            for name in names
            if _is_set(value := getattr(self, name))
        }


class InkManualSTTService(InkStreamingSTTService):
    """Speech-to-text with Cartesia Ink for pipelines that find the end of speech themselves.

    Stands where Pipecat's own `CartesiaSTTService` stands, with any VAD and turn analyzer. When the
    VAD hears that the user stopped, Ink is told to finalize, and **one** finalized
    `TranscriptionFrame` follows with all words since the last one, verbatim; interims before it
    never have a broken word. A bot with a button calls `finalize` itself.

    Event handlers: `on_connected(service)`, `on_disconnected(service)`,
    `on_connection_error(service, error)` and `on_audio_gap(service, seconds)`.

    Example::

        stt = InkManualSTTService(api_key=os.environ["CARTESIA_API_KEY"])
        pipeline = Pipeline([transport.input(), vad, stt, user_aggregator, llm, tts, ...])
    """

    Settings = InkManualSTTSettings
    _settings: InkManualSTTSettings

    def __init__(
        self,
        *,
        api_key: str | None = None,
        credentials: Credentials | None = None,
        base_url: str | None = None,
        encoding: str = "pcm_s16le",
        sample_rate: int | None = None,
        finalize_timeout: float = 5.0,
        extra_headers: Mapping[str, str] | None = None,
        allow_insecure: bool | None = None,
        drain_timeout: float = 5.0,
        resilience: Resilience | None = None,
        record: Record | None = None,
        settings: InkManualSTTSettings | None = None,
        ttfs_p99_latency: float | None = CARTESIA_TTFS_P99,
        **kwargs: Any,
    ) -> None:
        """Set up the service; nothing connects before the pipeline is set up.

        Args:
            api_key: Cartesia API key. Without it and `credentials`, `CARTESIA_API_KEY` is used.
            credentials: Another way to prove who you are, such as a token provider.
            base_url: The API, or a server that speaks like it. Without it, `CARTESIA_BASE_URL` or
                Cartesia's own.
            encoding: How audio is sent.
            sample_rate: Hz that a connection is opened with before the first audio frame. The
                frames' own rate is what counts. Without it, the pipeline's input rate.
            finalize_timeout: Seconds after which the words known so far are pushed, not finalized,
                when the server does not answer.
            extra_headers: More headers of the upgrade request, for what stands between you and the
                API; how one proves who one is stands in the credentials only.
            allow_insecure: Whether key and audio may go unencrypted to another machine; by default
                only if `CARTESIA_ALLOW_INSECURE` is 1.
            drain_timeout: Seconds that the last words may take when the pipeline ends.
            resilience: How hard the session fights for the user's words.
            record: Where calls are recorded: a folder, or `RecordOptions`; by default as
                `INK_RECORD` says.
            settings: What can also be changed while the service runs. `ink-2` by default.
            ttfs_p99_latency: As of Pipecat's own service.
            **kwargs: Arguments of Pipecat's `STTService`.

        Raises:
            UsageError: A value is wrong; the message names the argument.
        """
        if kwargs.pop("live_options", None) is not None:
            raise UsageError("live_options: Pipecat will remove them; give `settings` instead")
        store = self.Settings(
            model="ink-2",
            language=None,
            keyterm=None,
            min_volume=None,
            max_silence_duration_secs=None,
        )
        if settings is not None:
            store.apply_update(settings)
        super().__init__(
            api_key=api_key,
            credentials=credentials,
            url=base_url,
            encoding=encoding,
            extra_headers=extra_headers,
            allow_insecure=allow_insecure,
            drain_timeout=drain_timeout,
            resilience=resilience or Resilience(drain_timeout=finalize_timeout),
            record=record,
            sample_rate=sample_rate,
            settings=store,
            ttfs_p99_latency=ttfs_p99_latency,
            **kwargs,
        )
        self._warned: set[str] = set()
        self._options(sample_rate or 16_000)
        self._warn_about_settings()
        self._session = self._make_session()

    def language_to_service_language(self, language: Language) -> str:
        """The language as the API writes it: `en` for `en-US`.

        Args:
            language: The language.
        """
        return str(language.value).partition("-")[0]

    async def finalize(self) -> str:
        """Say that the user is done speaking, without a VAD: a button was let go.

        Returns:
            The words since the last time. They are pushed as a transcription, too.

        Raises:
            RejectedError: The server refuses the session.
            UsageError: The session is closed.
        """
        final = self._finalize()
        return (await asyncio.shield(final)).text if final else ""

    def _make_session(self) -> ManagedClient[Interim | Final]:
        return ManagedClient(
            self,
            make=self._make_client,
            stats=self._stats,
            handle_transcript=self._push_transcript,
            call=self._call_event_handler,
        )

    def _make_client(self, sample_rate: int) -> InkManualClient:
        options = self._options(sample_rate)
        return InkManualClient(
            options, self._credentials, resilience=self._resilience, call=self._call
        )

    def _options(self, sample_rate: int) -> ManualOptions:
        return ManualOptions(**self._connection_options(sample_rate), **self._settings.options())

    # -- what goes in -----------------------------------------------------------------------------

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Handle a frame; finalize when the user stopped speaking.

        Args:
            frame: The frame.
            direction: Where it goes.
        """
        await super().process_frame(frame, direction)
        match frame:
            case VADUserStoppedSpeakingFrame():
                self._finalize()
            case STTMuteFrame(mute=True):
                # The VAD may not tell any more: what was said before must not wait for what
                # is said after.
                self._finalize()

    def _finalize(self) -> asyncio.Future[Final] | None:
        self.request_finalize()  # type: ignore[no-untyped-call]
        return self._session.request_final()

    # -- what comes out ---------------------------------------------------------------------------

    async def _push_transcript(self, event: Interim | Final) -> None:
        """Make frames of words; where nothing was said, there is no frame."""
        match event:
            case Interim(text=text):
                interim = InterimTranscriptionFrame(text, *self._about(event))
                interim.includes_inter_frame_spaces = True
                await self.push_frame(interim)
            case Final(text=text, is_complete=is_complete):
                await self.emit_stt_usage_metrics()
                if not text.strip():
                    return
                if is_complete:
                    self.confirm_finalize()  # type: ignore[no-untyped-call]
                frame = TranscriptionFrame(text, *self._about(event))
                frame.includes_inter_frame_spaces = True
                await self.push_frame(frame)
                await self._handle_transcription(text, True, frame.language)

    def _about(self, event: Interim | Final) -> tuple[str, str, Language | None, object]:
        code = getattr(event, "language", None) or self._settings.language
        code = code or model_named(str(self._settings.model)).language
        language = None
        if isinstance(code, str):
            language = next((known for known in Language if known.value == code), None)
        return self._user_id, time_now_iso8601(), language, event

    # -- settings ---------------------------------------------------------------------------------

    async def _update_settings(
        self,
        delta: STTSettings,  # type: ignore[override]
    ) -> dict[str, Any]:
        """Apply a change of settings; a wrong one changes nothing.

        Args:
            delta: What to change.

        Returns:
            The names of the changed fields, with their former values.
        """
        before, rate = self._settings.copy(), self.sample_rate or 16_000
        options_before = self._options(rate)
        changed = await super()._update_settings(delta)
        try:
            options = self._options(rate)
        except UsageError as error:
            self._settings = before
            await self.push_error(f"{self}: settings not changed: {error}")
            return {}
        self._warn_about_settings()
        if replace(options, keyterms=options_before.keyterms) != options_before:
            await self._session.finish(self._drain_timeout)
            await self._session.reopen()
        elif options != options_before:
            self._session.update_keyterms(list(options.keyterms))
        return changed

    def _warn_about_settings(self) -> None:
        """Name the settings that the model does not take, once each."""
        settings = self._settings
        for name in settings.without_meaning:
            if name not in self._warned:
                logger.warning(f"{self}: `{name}` has no meaning with {settings.model!r}, ignored")
        self._warned = set(settings.without_meaning)
