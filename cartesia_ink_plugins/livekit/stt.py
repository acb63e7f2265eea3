"""The LiveKit STT: stands where `livekit.plugins.cartesia.STT` stands."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Literal

from livekit import rtc
from livekit.agents import (
    DEFAULT_API_CONNECT_OPTIONS,
    APIConnectOptions,
    LanguageCode,
    stt,
)
from livekit.agents.types import NOT_GIVEN, NotGivenOr, TimedString
from livekit.agents.utils import AudioBuffer, is_given

from cartesia_ink_plugins.core.audio import Encoding
from cartesia_ink_plugins.core.credentials import Credentials, TokenProvider
from cartesia_ink_plugins.core.errors import TranscriptionError, UsageError
from cartesia_ink_plugins.core.models import Model, model_for_language, model_named
from cartesia_ink_plugins.core.net.batch import transcribe
from cartesia_ink_plugins.core.options import ManualOptions, Resilience, TurnSettings, TurnsOptions
from cartesia_ink_plugins.core.speculation import SpeculationPolicy, Speculations, TokenPrice
from cartesia_ink_plugins.core.validation import insecure_allowed, validated_keyterms
from cartesia_ink_plugins.livekit import errors
from cartesia_ink_plugins.livekit.client_pool import ROOM_SAMPLE_RATE, ClientPool
from cartesia_ink_plugins.livekit.keyterms import merge_keyterms
from cartesia_ink_plugins.livekit.log import logger
from cartesia_ink_plugins.livekit.retries import RetryBudget
from cartesia_ink_plugins.livekit.stream import InkRecognizeStream
from cartesia_ink_plugins.observe.options import Record
from cartesia_ink_plugins.observe.stats import Stats

# Sessions of versions without it ask no stream to flush: then pauses in the audio have to tell the
# manual endpoint that speech is over.
_CAN_FLUSH = "manual_flush" in {field.name for field in fields(stt.STTCapabilities)}
_LEAST_TIMEOUT = 0.001  # seconds; LiveKit allows 0


class STT(stt.STT[Any]):
    """Cartesia Ink speech-to-text with turn detection.

    The session must be told to take its turns from here; without `turn_detection` LiveKit uses a
    detector of its own::

        from livekit.agents import AgentSession
        from cartesia_ink_plugins import livekit as ink

        session = AgentSession(
            stt=ink.STT(),
            llm=...,
            tts=...,
            turn_handling={"turn_detection": "stt"},
        )

    A lost connection is not visible in the conversation: audio is kept and replayed, and the same
    turn goes on to one final transcript.
    """

    def __init__(
        self,
        *,
        endpoint: Literal["turns", "manual"] | None = None,
        model: NotGivenOr[str] = NOT_GIVEN,
        sample_rate: NotGivenOr[int] = NOT_GIVEN,
        api_key: str | None = None,
        audio_chunk_duration_ms: NotGivenOr[int] = NOT_GIVEN,
        http_session: object | None = None,
        base_url: NotGivenOr[str] = NOT_GIVEN,
        language: str | None = None,
        encoding: Encoding | str = Encoding.PCM_S16LE,
        turn_start_threshold: NotGivenOr[float] = NOT_GIVEN,
        turn_eager_end_threshold: NotGivenOr[float] = NOT_GIVEN,
        turn_end_threshold: NotGivenOr[float] = NOT_GIVEN,
        turn_end_timeout_ms: NotGivenOr[int] = NOT_GIVEN,
        keyterm: NotGivenOr[Sequence[str]] = NOT_GIVEN,
        access_token: str | None = None,
        token_provider: TokenProvider | None = None,
        keep_min_delay: bool = False,
        allow_insecure: bool | None = None,
        resilience: Resilience | None = None,
        record: Record | None = None,
        speculation_policy: SpeculationPolicy | None = None,
        token_price: TokenPrice | None = None,
    ) -> None:
        """Check the arguments; dial nothing yet.

        Args:
            endpoint: Who detects turns: Ink (`"turns"`), or the session (`"manual"`) with its VAD,
                a turn detector of LiveKit's, or its user, as in push-to-talk. By default Ink, where
                the model can.
            model: `ink-2` (English), `ink-preview`, or `ink-whisper`, which detects no turns and is
                the default for languages other than English.
            sample_rate: Resample the room's audio to this rate, in Hz. By default audio is sent at
                the rate it has, which costs nothing.
            api_key: The Cartesia API key; by default the one in `CARTESIA_API_KEY`.
            audio_chunk_duration_ms: Has no meaning here: every frame leaves when it comes.
            http_session: Has no meaning here: no HTTP session is used.
            base_url: Where the API is: `https`, `wss`, `http`, `ws` or no scheme at all. By default
                `CARTESIA_BASE_URL`, or else https://api.cartesia.ai.
            language: What is spoken, and what the transcripts are labelled with; `en` by default.
            encoding: How audio is sent, one of the six encodings of the API.
            turn_start_threshold: Likelihood above which a turn starts. This and the other
                thresholds are only sent when they are given; see `TurnSettings` for their ranges.
            turn_eager_end_threshold: Likelihood below which a turn may be over and a reply is begun
                that can still be withdrawn. A higher value begins it earlier.
            turn_end_threshold: Likelihood below which a turn ends.
            turn_end_timeout_ms: Ends a turn whatever the likelihood, in milliseconds.
            keyterm: Words to expect: at most 100 terms and 1200 characters in total.
            access_token: A short-lived token instead of an API key.
            token_provider: Called for every dial; returns an access token.
            keep_min_delay: Let the session wait for its `min_delay` (0.5 s by default) after every
                turn, as a period of grace in which the user can go on. By default the reply comes
                at once, because Ink has already decided that the turn is over.
            allow_insecure: Whether key and audio may go unencrypted to another machine; by default
                only if `CARTESIA_ALLOW_INSECURE` is 1.
            resilience: How hard lost connections are fought; the defaults suit a voice agent.
            record: Where calls are recorded: a folder, or `RecordOptions`; by default as
                `INK_RECORD` says.
            speculation_policy: After which predicted ends of turns the session may begin a reply
                (its preemptive generation); by default, after all.
            token_price: What a token of the LLM costs, for the policy.

        Raises:
            UsageError: An argument is wrong (it is also a ValueError); the message names it.
        """
        endpoint = endpoint or _endpoint_of(model, language)
        self._language = LanguageCode(language or "en")
        self._own_keyterms = validated_keyterms(keyterm if is_given(keyterm) else ())
        self._session_keyterms: tuple[str, ...] = ()
        turn = _settings(
            turn_start_threshold, turn_eager_end_threshold, turn_end_threshold, turn_end_timeout_ms
        )
        common = {
            "encoding": encoding,
            "sample_rate": sample_rate if is_given(sample_rate) else ROOM_SAMPLE_RATE,
            "keyterms": self._own_keyterms,
            "allow_insecure": insecure_allowed(allow_insecure),
            **_given(model=model, base_url=base_url),
        }
        options = (
            TurnsOptions(turn=turn, **common)
            if endpoint == "turns"
            else _manual_options(endpoint, turn, language, common)
        )
        super().__init__(capabilities=_capabilities(options))
        self._sample_rate = sample_rate
        self._keep_min_delay = keep_min_delay
        self._streams = weakref.WeakSet[InkRecognizeStream]()
        credentials = (
            Credentials(api_key=api_key, access_token=access_token, token_provider=token_provider)
            if api_key or access_token or token_provider
            else Credentials.from_environment()
        )
        speculations = Speculations(speculation_policy, token_price, time.monotonic)
        self._pool = ClientPool(
            options, credentials, resilience or Resilience(), speculations, record
        )
        if is_given(audio_chunk_duration_ms):
            logger.info("audio_chunk_duration_ms has no meaning here: frames leave when they come")
        if http_session is not None:
            logger.info("http_session has no meaning here: no HTTP session is used")
        self._warn_about_language()

    @property
    def model(self) -> str:
        """The model in use."""
        return self._pool.options.model

    @property
    def provider(self) -> str:
        """Whose service it is."""
        return "Cartesia"

    def stream(
        self,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> InkRecognizeStream:
        """Open a stream; it takes a connection with its first audio.

        Args:
            language: What its transcripts are labelled with, if not the language of this STT.
            conn_options: How often connecting may fail, and how long it may take, before an error
                ends the stream. Not given, or LiveKit's own default as a session gives it: any
                number, as long as `resilience` says.
        """
        # A session that nobody told anything passes this very object. Whatever else comes was
        # decided by somebody: an application, or an adapter that waits for the error.
        is_decided = conn_options is not DEFAULT_API_CONNECT_OPTIONS
        stream = InkRecognizeStream(
            stt=self,
            pool=self._pool,
            conn_options=conn_options,
            retries=RetryBudget(conn_options) if is_decided else None,
            sample_rate=self._sample_rate,
            language=LanguageCode(language) if is_given(language) else self._language,
            keep_min_delay=self._keep_min_delay,
            flushes_itself=isinstance(self._pool.options, ManualOptions) and not _CAN_FLUSH,
        )
        self._streams.add(stream)
        return stream

    def prewarm(self) -> None:
        """Dial a connection that waits for the next stream; does nothing without a running loop."""
        try:
            self._pool.prewarm()
        except RuntimeError:
            logger.debug("no event loop is running: nothing to prewarm yet")

    def update_options(
        self,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        model: NotGivenOr[str] = NOT_GIVEN,
        turn_start_threshold: NotGivenOr[float] = NOT_GIVEN,
        turn_eager_end_threshold: NotGivenOr[float] = NOT_GIVEN,
        turn_end_threshold: NotGivenOr[float] = NOT_GIVEN,
        turn_end_timeout_ms: NotGivenOr[int] = NOT_GIVEN,
        keyterm: NotGivenOr[Sequence[str]] = NOT_GIVEN,
    ) -> None:
        """Change options, also of the streams that are open.

        Thresholds change in mid-call, even in mid-turn, without a reconnect. Keyterms change
        between two turns, because the API takes them only when a connection is opened.

        Args:
            language: What the transcripts are labelled with; what the model listens for stays as in
                the constructor.
            model: Cannot change; make another STT for another model.
            turn_start_threshold: As in the constructor.
            turn_eager_end_threshold: As in the constructor.
            turn_end_threshold: As in the constructor.
            turn_end_timeout_ms: As in the constructor.
            keyterm: As in the constructor; replaces the terms given before.

        Raises:
            UsageError: A value is wrong; nothing is changed.
        """
        changes = _settings(
            turn_start_threshold, turn_eager_end_threshold, turn_end_threshold, turn_end_timeout_ms
        )
        own_keyterms = validated_keyterms(keyterm) if is_given(keyterm) else self._own_keyterms
        if is_given(model) and model != self.model:
            logger.warning("update_options: the model stays %r; make another STT", self.model)
        if changes != TurnSettings():
            self._pool.configure(changes)
        if own_keyterms != self._own_keyterms:
            self._own_keyterms = own_keyterms
            self._apply_keyterms()
        if is_given(language):
            self._language = LanguageCode(language)
            self._warn_about_language()
            for stream in self._streams:
                stream.update_options(language=language)

    def stats(self) -> Stats:
        """Return the numbers of all streams so far; each stream has its own, too."""
        return self._pool.stats.stats()

    async def aclose(self) -> None:
        """Close every stream and the connection that waits for one."""
        streams = list(self._streams)
        self._streams.clear()
        await asyncio.gather(*(stream.aclose() for stream in streams), return_exceptions=True)
        await self._pool.aclose()

    async def _recognize_impl(
        self,
        buffer: AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions,
    ) -> stt.SpeechEvent:
        """Transcribe audio that is complete, with `POST /stt`; `ink-whisper` is its model."""
        options = self._pool.options
        try:
            transcription = await transcribe(
                rtc.combine_audio_frames(buffer).to_wav_bytes(),
                language=language if is_given(language) else self._language.language,
                word_timestamps=True,
                credentials=self._pool.credentials,
                base_url=options.base_url,
                cartesia_version=options.cartesia_version,
                allow_insecure=options.allow_insecure,
                # It bounds the connecting; how long the computing takes depends on the recording.
                connect_timeout=max(conn_options.timeout, _LEAST_TIMEOUT),
                retries=0,  # the base class does them
            )
        except TranscriptionError as error:
            raise errors.failed_transcription(error) from error
        data = stt.SpeechData(
            language=LanguageCode(transcription.language or self._language),
            text=transcription.text,
            words=[
                TimedString(word.word, start_time=word.start, end_time=word.end)
                for word in transcription.words
            ],
            end_time=transcription.duration or 0.0,
        )
        return stt.SpeechEvent(
            type=stt.SpeechEventType.FINAL_TRANSCRIPT,
            request_id=transcription.request_id or "",
            alternatives=[data],
        )

    def _update_session_keyterms(self, keyterms: list[str]) -> None:
        """Called by the session at its start, on a change, and by its keyterm detector."""
        self._session_keyterms = tuple(keyterms)
        self._apply_keyterms()

    def _apply_keyterms(self) -> None:
        if not self.capabilities.keyterms:
            logger.warning("%s takes no keyterms", self.model)
            return
        self._pool.update_keyterms(merge_keyterms(self._own_keyterms, self._session_keyterms))

    def _warn_about_language(self) -> None:
        listens_for = getattr(self._pool.options, "language", None)
        only = model_named(self.model).language
        if only and self._language.language != only:
            logger.warning(
                "%s recognizes %r only, not %s; see the other models",
                self.model,
                only,
                self._language,
            )
        elif listens_for and listens_for != self._language.language:
            logger.warning("%s still listens for %r; make another STT", self.model, listens_for)


def _endpoint_of(model: NotGivenOr[str], language: str | None) -> Literal["turns", "manual"]:
    """Where a model is; without one, the model is the one for the language."""
    row = model_named(model) if is_given(model) else _model_for(language)
    if row.has_turns:
        return "turns"
    logger.info("%s detects no turns: the session's VAD or turn detector has to", row.name)
    return "manual"


def _model_for(language: str | None) -> Model:
    return model_for_language(LanguageCode(language).language if language else None)


def _manual_options(
    endpoint: str, turn: TurnSettings, language: str | None, common: dict[str, Any]
) -> ManualOptions:
    if endpoint != "manual":
        raise UsageError(f"endpoint: {endpoint!r} is neither 'turns' nor 'manual'")
    if turn != TurnSettings():
        raise UsageError("turn_*: the manual endpoint detects no turns and has no thresholds")
    if not _CAN_FLUSH:
        logger.warning(
            "this version of livekit-agents flushes no stream: on the manual endpoint each pause "
            "of half a second ends a segment"
        )
    code = LanguageCode(language).language if language else None
    return ManualOptions(language=code, **{"model": _model_for(language).name, **common})


def _capabilities(options: TurnsOptions | ManualOptions) -> stt.STTCapabilities:
    is_manual, model = isinstance(options, ManualOptions), model_named(options.model)
    return stt.STTCapabilities(
        streaming=True,
        interim_results=True,
        aligned_transcript="word" if model.has_word_times else False,
        offline_recognize=True,
        diarization=False,
        keyterms=model.has_keyterms,
        **({"manual_flush": True} if is_manual and _CAN_FLUSH else {}),
    )


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if is_given(value)}


def _settings(
    start: NotGivenOr[float],
    eager_end: NotGivenOr[float],
    end: NotGivenOr[float],
    timeout_ms: NotGivenOr[int],
) -> TurnSettings:
    return TurnSettings(
        **_given(
            turn_start_threshold=start,
            turn_eager_end_threshold=eager_end,
            turn_end_threshold=end,
            turn_end_timeout_ms=timeout_ms,
        )
    )
