"""What the end of a pipeline leaves on a service, and the next pipeline must not find."""

from __future__ import annotations

from pipecat.services.stt_service import SegmentedSTTService, STTService


async def begin_anew(service: STTService) -> None:
    """Have a service take frames and audio, whatever ended the pipeline that it was in before.

    Call it at the end of `setup`. Pipecat resets none of this: a processor that was cancelled drops
    every frame, even the StartFrame, one that was muted or rejected by the server takes no audio,
    and what the user was saying goes into the next call.

    Args:
        service: What is set up.
    """
    service._cancelling = False
    service._muted = service._user_speaking = False
    service._finalize_requested = service._finalize_pending = False
    if isinstance(service, SegmentedSTTService):
        service._audio_buffer.clear()
        while not service._segment_queue.empty():
            service._segment_queue.get_nowait()
    await service.set_usable(True)
