"""`InkTurnsSTTService`: Ink's turns in a Pipecat pipeline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from pipecat.frames.frames import (
    Frame,
    StartFrame,
    STTMetadataFrame,
    UserMuteStartedFrame,
    UserMuteStoppedFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessorSetup
from pipecat.services.settings import STTSettings
from pipecat.transcriptions.language import Language
from pipecat.turns.user_stop import EagerMatchPolicy, NormalizedMatch
from pipecat.turns.user_turn_strategies import UserTurnStrategies

from cartesia_ink_plugins.core.credentials import Credentials
from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.events import TurnEvent
from cartesia_ink_plugins.core.models import model_named
from cartesia_ink_plugins.core.net.turns_client import InkTurnsClient
from cartesia_ink_plugins.core.options import Resilience, TurnSettings, TurnsOptions
from cartesia_ink_plugins.core.speculation import SpeculationPolicy, TokenPrice
from cartesia_ink_plugins.observe.options import Record
from cartesia_ink_plugins.pipecat.frame_pusher import FramePusher
from cartesia_ink_plugins.pipecat.latency import LatencyMeter
from cartesia_ink_plugins.pipecat.llm_observer import FirstTokenObserver
from cartesia_ink_plugins.pipecat.managed_client import ManagedClient
from cartesia_ink_plugins.pipecat.metadata import InkSTTMetadataFrame
from cartesia_ink_plugins.pipecat.service import InkStreamingSTTService
from cartesia_ink_plugins.pipecat.settings import THRESHOLDS, InkTurnsSTTSettings
from cartesia_ink_plugins.pipecat.speculation import SpeculationTracker
from cartesia_ink_plugins.pipecat.speech_frames import SpeechFrames, SpeechFramesMode
from cartesia_ink_plugins.pipecat.strategies import (
    InterruptOn,
    StrategyOptions,
    recommended_strategies,
)

_EVENTS = (
    "on_turn_start",
    "on_turn_update",
    "on_turn_eager_end",
    "on_turn_resume",
    "on_turn_end",
    "on_speculation",
)
# Nothing is spoken before the turn ends, so a prediction may stay open for as long as a turn can.
_LONGEST_TIMEOUT_MS = 11_200
_SPECULATION_MARGIN = 20.0
# Seconds that the last frames may take when the drain timeout is over.
_LAST_FRAMES = 0.1


class InkTurnsSTTService(InkStreamingSTTService):
    """Speech-to-text with Cartesia Ink, which also decides when the user's turn starts and ends.

    Stands where Pipecat's own `CartesiaTurnsSTTService` stands, with the same keywords. What the
    server predicts to be the end of a turn is answered ahead of it, unless
    `enable_eager_end_of_turn` is turned off; nothing of such an answer is spoken before the end.

    Event handlers, in addition to `on_connected(service)`, `on_disconnected(service)` and
    `on_connection_error(service, error)`, which are called when the service comes online, goes
    offline, and fails to connect; a connection that takes the place of another is no news:

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
        token_price: TokenPrice | None = None,
        resume_grace: float = 0.25,
        extra_headers: Mapping[str, str] | None = None,
        allow_insecure: bool | None = None,
        drain_timeout: float = 5.0,
        resilience: Resilience | None = None,
        record: Record | None = None,
        settings: InkTurnsSTTSettings | None = None,
        enable_direct_mode: bool = True,
        speech_frames: SpeechFramesMode = "auto",
        **kwargs: Any,
    ) -> None:
        """Set up the service; nothing connects before the pipeline is set up.

        Args:
            api_key: Cartesia API key. Without it and `credentials`, `CARTESIA_API_KEY` is used.
            credentials: Another way to prove who you are, such as a token provider.
            url: The API, or a server that speaks like it: scheme and host, with or without the
                path. Without it, `CARTESIA_BASE_URL` or Cartesia's own.
            encoding: How audio is sent. `pcm_mulaw` and `pcm_alaw` halve the bytes.
            sample_rate: Hz that a connection is opened with before the first audio frame. The
                frames' own rate is what counts. Without it, the pipeline's input rate.
            should_interrupt: Whether the user interrupts the bot.
            interrupt_on: Whether a turn is opened, and the bot interrupted, by its start or by its
                first words; words take a little longer, and noise without words does not stop the
                bot. Applies, as the next three, with the strategies that this service recommends.
            enable_eager_end_of_turn: Whether a predicted end of a turn is answered ahead of it.
            eager_match_policy: Whether a reply to the predicted words also answers the final ones.
                By default, they may differ in case, punctuation and spaces.
            speculation_policy: Which predictions are answered; by default, all.
            token_price: What a token of the LLM costs, for `on_speculation` and the policies.
            resume_grace: Seconds after the user goes on in which the same words may end the turn
                again without costing another reply.
            extra_headers: More headers of the upgrade request, for what stands between you and the
                API; how one proves who one is stands in the credentials only.
            allow_insecure: Whether key and audio may go unencrypted to another machine; by default
                only if `CARTESIA_ALLOW_INSECURE` is 1.
            drain_timeout: Seconds that the last words may take when the pipeline ends.
            resilience: How hard the session fights for the user's words.
            record: Where calls are recorded: a folder, or `RecordOptions`; by default as
                `INK_RECORD` says.
            settings: What can also be changed while the service runs.
            enable_direct_mode: Whether frames are handled where they are pushed, and not by tasks
                with queues of the service's own. Nothing here keeps audio waiting, so that is
                only cheaper; whoever pushes the EndFrame then waits for the last words.
            speech_frames: Who learns when the user spoke, in frames like those of a VAD.
                `"auto"`: Pipecat's observers, unless the pipeline has a VAD of its own. True: every
                processor, always. False: nobody.
            **kwargs: Arguments of Pipecat's `STTService`.

        Raises:
            UsageError: A value is wrong; the message names the argument.
        """
        if interrupt_on not in ("start", "words"):
            raise UsageError(f"interrupt_on: {interrupt_on!r} is neither 'start' nor 'words'")
        store = self.Settings.complete(settings)
        super().__init__(
            api_key=api_key,
            credentials=credentials,
            url=url,
            encoding=encoding,
            extra_headers=extra_headers,
            allow_insecure=allow_insecure,
            drain_timeout=drain_timeout,
            resilience=resilience,
            record=record,
            sample_rate=sample_rate,
            settings=store,
            enable_direct_mode=enable_direct_mode,
            **kwargs,
        )
        self._should_interrupt = should_interrupt
        self._eager = enable_eager_end_of_turn
        try:
            self._options(sample_rate or 16_000)
        except UsageError as error:
            raise UsageError(str(error).replace("base_url:", "url:", 1)) from None

        self._resume_grace = resume_grace
        self._interrupt_on = interrupt_on
        self._speculations = SpeculationTracker(
            self,
            speculation_policy,
            eager_match_policy or NormalizedMatch(),
            token_price,
            self._call_event_handler,
        )
        self._adopters = 0
        self._first_token = FirstTokenObserver()
        self._runner: asyncio.Task[None] | None = None
        self._speech = SpeechFrames(self, speech_frames)
        self._pusher = self._make_pusher()
        self._session = self._make_session()
        for event in _EVENTS:
            self._register_event_handler(event)

    # -- what the framework asks ------------------------------------------------------------------

    @property
    def supports_ttfs(self) -> bool:
        """Nothing has to wait for late words: the server says when a turn is over."""
        return False

    def service_metadata_frame(self) -> STTMetadataFrame:
        """Recommend turn strategies; they apply unless the user passed some."""
        return InkSTTMetadataFrame.extending(
            super().service_metadata_frame(), self.recommended_user_turn_strategies
        )

    @property
    def eager_end_of_turn_enabled(self) -> bool:
        """Whether a predicted end of a turn is answered ahead of it."""
        return self._eager

    @property
    def eager_end_of_turn_pending(self) -> bool:
        """Whether the end of the turn is predicted, and neither confirmed nor taken back yet."""
        return self._pusher.is_prediction_pending

    def recommended_user_turn_strategies(
        self, *, enable_interruptions: bool | None = None
    ) -> UserTurnStrategies:
        """The strategies that leave the decisions about turns to this service.

        For a user aggregator that the recommendation does not reach, such as one that is made
        later. Each aggregator needs strategies of its own.

        Args:
            enable_interruptions: Whether the user interrupts the bot; by default, as
                `should_interrupt`.
        """
        if enable_interruptions is None:
            enable_interruptions = self._should_interrupt
        timeout_ms = self._settings.turn_settings().turn_end_timeout_ms or _LONGEST_TIMEOUT_MS
        return recommended_strategies(
            StrategyOptions(
                service=self.name,
                eager=self._eager,
                enable_interruptions=enable_interruptions,
                interrupt_on=self._interrupt_on,
                speculation_timeout=timeout_ms / 1000 + _SPECULATION_MARGIN,
                speculations=self._speculations,
                adopted=self._count_adopters,
            )
        )

    def _count_adopters(self, change: int) -> None:
        self._adopters += change

    # -- lifecycle --------------------------------------------------------------------------------

    async def setup(self, setup: FrameProcessorSetup) -> None:  # type: ignore[override]
        """Begin to connect, and return at once.

        Args:
            setup: The pipeline's configuration.
        """
        self._speech.setup(setup)
        self._pusher = self._make_pusher()
        await super().setup(setup)
        self._runner = self.create_task(self._pusher.run(), "turns")

    async def start(self, frame: StartFrame) -> None:
        """Look for the LLM services and for a VAD, now that the pipeline is complete.

        Args:
            frame: The start frame.
        """
        await super().start(frame)
        pipeline = self.pipeline_worker.pipeline
        self._first_token.attach(pipeline)
        self._speculations.attach(pipeline)
        self._speech.look_for_vad(pipeline)

    async def _finish(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        await super()._finish(timeout)
        self._pusher.close()
        if self._runner:
            left = max(_LAST_FRAMES, deadline - time.monotonic())
            await asyncio.wait([self._runner], timeout=left)

    async def _end(self) -> None:
        await self._speculations.detach()
        await super()._end()
        self._pusher.close()
        if runner := self._runner:
            self._runner = None
            await self.cancel_task(runner)

    def _make_pusher(self) -> FramePusher:
        language = model_named(self.model or "").language
        return FramePusher(
            self,
            language=Language(language) if language else None,
            eager=self._eager,
            match_policy=self._speculations.match_policy,
            resume_grace=self._resume_grace,
            meter=LatencyMeter(self, self._first_token),
            speech=self._speech,
            user_id=lambda: self._user_id,
            has_own_strategies=lambda: self._adopters > 0,
            after_final=self._handle_transcription,
            call=self._call_event_handler,
        )

    def _make_session(self) -> ManagedClient[TurnEvent]:
        return ManagedClient(
            self,
            make=self._make_client,
            stats=self._stats,
            on_settings_rejected=self._restore,
            call=self._call_event_handler,
            on_transcript=self._pusher.feed,
        )

    def _make_client(self, sample_rate: int) -> InkTurnsClient:
        options = self._options(sample_rate)
        return InkTurnsClient(
            options, self._credentials, resilience=self._resilience, call=self._call
        )

    def _options(self, sample_rate: int) -> TurnsOptions:
        return TurnsOptions(
            model=str(self._settings.model),
            keyterms=self._settings.keyterms(),
            turn=self._settings.turn_settings(),
            **self._connection_options(sample_rate),
        )

    # -- frames from elsewhere --------------------------------------------------------------------

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Handle a frame; note where in the audio the user is muted, and who else detects speech.

        Args:
            frame: The frame.
            direction: Where it goes.
        """
        if isinstance(frame, UserMuteStartedFrame):
            self._pusher.mute_started()
        elif isinstance(frame, UserMuteStoppedFrame):
            await self._pusher.mute_ended(self._session.position)
        self._speech.frame_received(frame)
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
        was_rejected = self._session.is_rejected
        changed = await super()._update_settings(delta)
        values = {name: getattr(self._settings, name) for name in THRESHOLDS if name in changed}
        to_default = {name for name, value in values.items() if value is None}
        self._warn_unhandled_updated_settings(  # type: ignore[no-untyped-call]
            (changed.keys() - {"keyterm", *THRESHOLDS}) | to_default
        )
        if was_rejected:
            # A new session has begun, with the new settings.
            return changed
        if values.keys() - to_default:
            self._session.configure(TurnSettings(**values))
        if "keyterm" in changed:
            self._session.update_keyterms(self._settings.keyterms())
        return changed

    def _restore(self, turn: TurnSettings) -> None:
        """The server has rejected a change; these thresholds hold."""
        for name in THRESHOLDS:
            setattr(self._settings, name, getattr(turn, name))
