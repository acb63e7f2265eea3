"""A computer with sound, where there is none: PulseAudio with a mouth and ears that are memory.

What is played into the mouth is what PortAudio's default microphone hears; what PortAudio's default
loudspeaker plays can be listened to at the ears.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

_PULSE = """
load-module module-native-protocol-unix socket={folder}/sound auth-anonymous=1
load-module module-null-sink sink_name=mouth rate=16000 channels=1
load-module module-null-sink sink_name=ears rate=24000 channels=1
set-default-sink ears
set-default-source mouth.monitor
"""
_ALSA = """
pcm_type.pulse { lib "libasound_module_pcm_pulse.so" }
pcm.!default { type pulse }
"""


@dataclass(frozen=True, slots=True)
class Sound:
    """Virtual sound devices.

    Attributes:
        environment: Variables for programs that are to use them.
    """

    environment: dict[str, str]

    async def say(self, pcm: bytes) -> None:
        """Speak into the microphone, 16-bit mono at 16 kHz, in real time."""
        player = await self._run("pacat", "--playback", "--device=mouth", rate=16_000)
        await asyncio.wait_for(player.communicate(pcm), 60)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[bytearray]:
        """Hear what the loudspeaker plays: 16-bit mono at 24 kHz, as it comes."""
        recorder = await self._run("pacat", "--record", "--device=ears.monitor", rate=24_000)
        assert recorder.stdout is not None
        heard = bytearray()
        stream = recorder.stdout

        async def hear() -> None:
            while pcm := await stream.read(4096):
                heard.extend(pcm)

        hearing = asyncio.create_task(hear())
        try:
            yield heard
        finally:
            recorder.terminate()
            await hearing
            await recorder.wait()

    async def _run(self, program: str, *arguments: str, rate: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(program, "--raw", f"--rate={rate}", "--channels=1", "--format=s16le"),
            *("--latency-msec=1000", *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=self.environment,
        )


@asynccontextmanager
async def virtual_sound(folder: Path) -> AsyncIterator[Sound]:
    """Have virtual sound devices for a while.

    Args:
        folder: For their sockets and settings.
    """
    (folder / "pulse.pa").write_text(_PULSE.format(folder=folder))
    (folder / "asound.conf").write_text(_ALSA)
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "XDG_RUNTIME_DIR": str(folder),
        "PULSE_SERVER": f"unix:{folder}/sound",
        "ALSA_CONFIG_PATH": str(folder / "asound.conf"),
    }
    server = await asyncio.create_subprocess_exec(
        *("pulseaudio", "-n", "-F", str(folder / "pulse.pa"), "--daemonize=no"),
        *("--exit-idle-time=-1", "--disable-shm", "--log-level=error"),
        stderr=asyncio.subprocess.DEVNULL,
        env=environment,
    )
    try:
        await _until_it_listens(folder / "sound")
        yield Sound(environment)
    finally:
        server.terminate()
        await server.wait()


async def _until_it_listens(path: Path) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_unix_connection(path)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return
