"""`InkTurnsSTTService`: Ink's turns in a Pipecat pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from loguru import logger
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InputAudioRawFrame,
    StartFrame,
    STTMetadataFrame,
    UserAudioRawFrame,
)
from pipecat.metrics.metrics import STTUsage
from pipecat.processors.frame_processor import FrameDirection, FrameProcessorSetup
from pipecat.services.settings import STTSettings
from pipecat.services.stt_service import STTService
from pipecat.transcriptions.language import Language
from pipecat.turns.user_stop import EagerMatchPolicy
from pipecat.turns.user_turn_strategies import UserTurnStrategies
from pipecat.utils.tracing.service_decorators import traced_stt

from cartesia_ink_plugins.core.client import InkTurnsClient
from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.events import TurnEnd, TurnEvent
from cartesia_ink_plugins.core.options import Credentials, Resilience, TurnSettings, TurnsOptions
from cartesia_ink_plugins.pipecat.latency import LatencyMeter
from cartesia_ink_plugins.pipecat.llms import LLMWatch
from cartesia_ink_plugins.pipecat.outlet import TurnOutlet
from cartesia_ink_plugins.pipecat.sequencer import InterruptOn, TurnSequencer
from cartesia_ink_plugins.pipecat.session import InkSession
from cartesia_ink_plugins.pipecat.settings import THRESHOLDS, InkTurnsSTTSettings
from cartesia_ink_plugins.pipecat.speculation import AlwaysSpeculate, SpeculationPolicy
from cartesia_ink_plugins.pipecat.strategies import recommended_strategies
from cartesia_ink_plugins.pipecat.witness import TurnWitness

_EVENTS = (
    "on_turn_start",
    "on_turn_update",
    "on_turn_eager_end",
    "on_turn_resume",
    "on_turn_end",
    "on_speculation",
    "on_audio_gap",
)
# Of the built-in class; here the session does what they are for.
_WITHOUT_MEANING = ("watchdog_min_timeout", "reconnect_on_error", "extra_headers")
# Nothing is spoken before the turn ends, so a prediction may stay open for as long as a turn can.
_LONGEST_TIMEOUT_MS = 11_200
_SPECULATION_MARGIN = 20.0


class InkTurnsSTTService(STTService):
    """Speech-to-text with Cartesia Ink, which also decides when the user's turn starts and ends.

    Stands where Pipecat's own `CartesiaTurnsSTTService` stands, with the same keywords. What the
    server predicts to be the end of a turn is answered ahead of it, unless
    `enable_eager_end_of_turn` is turned off; nothing of such an answer is spoken before the end.

    Event handlers, in addition to `on_connected(service)`, `on_disconnected(service)` and
    `on_connection_error(service, error)`, which are called once for every connection that was
    opened, that ended, and that failed:

    - on_turn_start(service, transcript): the user began to speak; `transcript` is empty
    - on_turn_update(service, transcript): the words of the turn so far
    - on_turn_eager_end(service, transcript): the user may be done
    - on_turn_resume(service): the user was not done
    - on_turn_end(service, transcript): the final words of the turn
    - on_speculation(service, report): what became of a reply begun early; a `SpeculationReport`
    - on_audio_gap(service, seconds): audio was given up, after a very long outage

    Example::

        stt = InkTurnsSTTService(api_key=os.environ["CARTESIA_API_KEY"])
        pipeline = Pipeline([transport.input(), stt, user_aggregator, llm, tts, ...])
    """

    Settings = InkTurnsSTTSettings
    _settings: InkTurnsSTTSettings

    def __init__(
        self,
        *,
        api_key: str | None = None,
        credentials: Credentials | None = None,
        url: str | None = None,
        encoding: str = "pcm_s16le",
        sample_rate: int | None = None,
        should_interrupt: bool = True,
        interrupt_on: InterruptOn = "start",
        enable_eager_end_of_turn: bool = True,
        eager_match_policy: EagerMatchPolicy | None = None,
        speculation_policy: SpeculationPolicy | None = None,
        resume_grace: float = 0.25,
        drain_timeout: float = 5.0,
        resilience: Resilience | None = None,
        settings: InkTurnsSTTSettings | None = None,
        **kwargs: Any,
    ) -> None:
        """Set up the service; nothing is dialled before the pipeline is set up.

        Args:
            api_key: Cartesia API key. Without it and `credentials`, `CARTESIA_API_KEY` is used.
            credentials: Another way to prove who you are, such as a token provider.
            url: The API, or a server that speaks like it: scheme and host, with or without the
                path. Without it, `CARTESIA_BASE_URL` or Cartesia's own.
            encoding: How audio is sent. `pcm_mulaw` and `pcm_alaw` halve the bytes.
            sample_rate: Hz that a connection is opened with before the first audio frame. The
                frames' own rate is what counts. Without it, the pipeline's input rate.
            should_interrupt: Whether the user interrupts the bot.
            interrupt_on: Whether the start of a turn interrupts the bot, or its first words; words
                take a little longer, and noise without words does not stop the bot. Applies, as
                the next three, with the turn strategies that this service recommends.
            enable_eager_end_of_turn: Whether a predicted end of a turn is answered ahead of it.
            eager_match_policy: Whether a reply to the predicted words also answers the final ones.
                By default, they may differ in case, punctuation and spaces.
            speculation_policy: Which predictions are answered; by default, all.
            resume_grace: Seconds after the user goes on in which the same words may end the turn
                again without costing another reply.
            drain_timeout: Seconds that the last words may take when the pipeline ends.
            resilience: How hard the session fights for the user's words.
            settings: What can also be changed while the service runs.
            **kwargs: Arguments of Pipecat's `STTService`.

        Raises:
            UsageError: A value is wrong; the message names the argument.
        """
        for name in _WITHOUT_MEANING:
            if kwargs.pop(name, None) is not None:
                logger.info(f"InkTurnsSTTService: `{name}` has no meaning here and is ignored")
        if interrupt_on not in ("start", "words"):
            raise UsageError(f"interrupt_on: {interrupt_on!r} is neither 'start' nor 'words'")
        if api_key and credentials:
            raise UsageError("credentials: give either api_key or credentials")
        store = self.Settings.complete(settings)
        super().__init__(sample_rate=sample_rate, settings=store, **kwargs)
        if credentials is None:
            credentials = Credentials(api_key=api_key) if api_key else None
        self._credentials = credentials or Credentials.from_environment()
        self._resilience = resilience
        self._url = url
        self._encoding = encoding
        self._drain_timeout = drain_timeout
        self._should_interrupt = should_interrupt
        self._eager_match_policy = eager_match_policy
        self._eager = enable_eager_end_of_turn
        try:
            self._options(sample_rate or 16_000)
        except UsageError as error:
            raise UsageError(str(error).replace("base_url:", "url:", 1)) from None

        self._runner: asyncio.Task[None] | None = None
        self._ending = False
        self._user = ""
        model = store.model if isinstance(store.model, str) else None
        self._llms = LLMWatch()
        self._witness = TurnWitness(self._llms)
        self._sequencer = TurnSequencer(
            TurnOutlet(
                self,
                model=model,
                # The family of models that knows only one language.
                language=Language.EN if str(model).startswith("ink-2") else None,
                meter=LatencyMeter(self, self._llms, model=model),
                user_id=lambda: self._user,
                before_final=self._measure,
                after_final=self._handle_transcription,
                call=self._call_event_handler,
            ),
            self._witness,
            policy=(speculation_policy or AlwaysSpeculate()) if self._eager else None,
            match=eager_match_policy,
            interrupts=should_interrupt,
            interrupt_on=interrupt_on,
            resume_grace=resume_grace,
        )
        self._session: InkSession[TurnEvent] = InkSession(
            self,
            make=self._make_client,
            feed=self._sequencer.feed,
            rejected=self._restore,
            call=self._call_event_handler,
        )
        for event in _EVENTS:
            self._register_event_handler(event)

    # -- what the framework asks ------------------------------------------------------------------

    def can_generate_metrics(self) -> bool:
        """Usage, latency and speculation metrics are generated."""
        return True

    @property
    def supports_ttfs(self) -> bool:
        """Nothing has to wait for late words: the server says when a turn is over."""
        return False

    def service_metadata_frame(self) -> STTMetadataFrame:
        """Recommend turn strategies; they apply unless the user passed some."""
        frame = super().service_metadata_frame()
        frame.user_turn_strategies = self.recommended_user_turn_strategies()
        return frame

    def recommended_user_turn_strategies(self) -> UserTurnStrategies:
        """The strategies that leave the decisions about turns to this service.

        For a user aggregator that cannot hear the recommendation, such as one that is made later.
        """
        timeout_ms = self._settings.turn_settings().turn_end_timeout_ms or _LONGEST_TIMEOUT_MS
        return recommended_strategies(
            self._witness,
            eager=self._eager,
            enable_interruptions=self._should_interrupt,
            match_policy=self._eager_match_policy,
            speculation_timeout=timeout_ms / 1000 + _SPECULATION_MARGIN,
        )

    # -- lifecycle --------------------------------------------------------------------------------

    async def setup(self, setup: FrameProcessorSetup) -> None:  # type: ignore[override]
        """Begin to dial, and return at once.

        Args:
            setup: The pipeline's configuration.
        """
        await super().setup(setup)
        self._runner = self.create_task(self._sequencer.run(), "turns")
        self._session.open(self.sample_rate)

    async def start(self, frame: StartFrame) -> None:
        """Look for the LLM services, now that the pipeline is complete.

        Args:
            frame: The start frame.
        """
        await super().start(frame)
        self._llms.look_around(self.pipeline_worker.pipeline)

    async def stop(self, frame: EndFrame) -> None:
        """Deliver the last words, then end.

        Args:
            frame: The end frame.
        """
        self._ending = True
        await self._session.finish(self._drain_timeout)
        self._sequencer.close()
        if self._runner:
            await asyncio.wait([self._runner], timeout=self._drain_timeout)
        await self._end()
        await super().stop(frame)

    async def cancel(self, frame: CancelFrame) -> None:
        """End at once.

        Args:
            frame: The cancel frame.
        """
        await self._end()
        await super().cancel(frame)

    async def cleanup(self) -> None:
        """End, if no frame did it."""
        await self._end()
        await super().cleanup()  # type: ignore[no-untyped-call]

    async def _end(self) -> None:
        """Leave no task and no connection; the only way out, and safe to take twice."""
        self._ending = True
        await self._session.close()
        self._sequencer.close()
        if runner := self._runner:
            self._runner = None
            await self.cancel_task(runner)

    async def set_usable(self, is_usable: bool) -> None:
        """Set whether the service can be given work; begin a new session after a refusal.

        Args:
            is_usable: Whether it can.
        """
        await super().set_usable(is_usable)
        if is_usable and self._session.is_refused and not self._ending:
            await self._session.reopen()

    def _make_client(self, sample_rate: int) -> InkTurnsClient:
        options = self._options(sample_rate)
        return InkTurnsClient(options, self._credentials, resilience=self._resilience)

    def _options(self, sample_rate: int) -> TurnsOptions:
        where = {"base_url": self._url} if self._url else {}
        return TurnsOptions(
            model=str(self._settings.model),
            encoding=self._encoding,
            sample_rate=sample_rate,
            keyterms=self._settings.keyterms(),
            turn=self._settings.turn_settings(),
            **where,
        )

    # -- audio ------------------------------------------------------------------------------------

    async def process_audio_frame(
        self, frame: InputAudioRawFrame, direction: FrameDirection
    ) -> None:
        """Hand a frame to the session, which never keeps it waiting.

        Args:
            frame: 16-bit audio of any rate and number of channels.
            direction: Where the frame goes.
        """
        if self.is_muted or self._ending or not self.is_usable or not frame.audio:
            return
        self._user = self._user_id = frame.user_id if isinstance(frame, UserAudioRawFrame) else ""
        await self._session.hear(frame)

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame | None, None]:
        """Hand 16-bit mono audio to the session; the words come on their own."""
        frame = InputAudioRawFrame(audio=audio, sample_rate=self.sample_rate, num_channels=1)
        await self.process_audio_frame(frame, FrameDirection.DOWNSTREAM)
        yield None

    # -- frames from elsewhere --------------------------------------------------------------------

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Handle a frame, and learn from those that come back up the pipeline.

        Args:
            frame: The frame.
            direction: Where it goes.
        """
        if direction is FrameDirection.UPSTREAM:
            await self._sequencer.observe(frame)
        await super().process_frame(frame, direction)

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
        try:
            self._settings.changed_by(delta)
        except UsageError as error:
            await self.push_error(f"{self}: settings not changed: {error}")
            return {}
        was_refused = self._session.is_refused
        changed = await super()._update_settings(delta)
        values = {name: getattr(self._settings, name) for name in THRESHOLDS if name in changed}
        to_default = {name for name, value in values.items() if value is None}
        self._warn_unhandled_updated_settings(  # type: ignore[no-untyped-call]
            (changed.keys() - {"keyterm", *THRESHOLDS}) | to_default
        )
        if was_refused:
            # A new session has begun, with the new settings.
            return changed
        if values.keys() - to_default:
            self._session.configure(TurnSettings(**values))
        if "keyterm" in changed:
            self._session.update_keyterms(self._settings.keyterms())
        return changed

    def _restore(self, turn: TurnSettings) -> None:
        """The server has refused a change; these thresholds hold."""
        for name in THRESHOLDS:
            setattr(self._settings, name, getattr(turn, name))

    # -- metrics and tracing ----------------------------------------------------------------------

    async def emit_stt_usage_metrics(self) -> None:
        """Report the seconds of audio that were sent since the last report."""
        if seconds := self._session.take_usage():
            await self.start_stt_usage_metrics(STTUsage(audio_seconds=seconds))

    async def _measure(self, event: TurnEnd) -> None:
        """Report usage, and measure from the end of speech to the final words."""
        await self.emit_stt_usage_metrics()
        if event.timing and event.timing.speech_end is not None:
            await self.start_ttfb_metrics(start_time=event.timing.speech_end)

    @traced_stt
    async def _handle_transcription(
        self, transcript: str, is_final: bool, language: Language | None
    ) -> None:
        """Mark a transcription for tracing."""
