"""What a connection of the manual endpoint is opened with.

Parameters: https://docs.cartesia.ai/api-reference/stt/manual/websocket
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from cartesia_ink_plugins.core.audio import AudioFormat, Encoding
from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.options import (
    API_VERSION,
    DEFAULT_BASE_URL,
    check_headers,
    check_keyterms,
    check_sample_rate,
    websocket_url,
)

MANUAL_PATH = "/stt/websocket"


@dataclass(frozen=True, slots=True, kw_only=True)
class ManualOptions:
    """What a connection to `/stt/websocket` asks for.

    Attributes:
        model: `ink-2` (English), `ink-preview`, or `ink-whisper`, which knows about 100 languages
            and gives words with times.
        encoding: One of the six encodings; what `send_audio` takes.
        sample_rate: Hz; what `send_audio` takes.
        language: ISO 639-1, such as `en`; a region is left out. None leaves it to the server.
        keyterms: Words to expect: at most 100 terms and 1200 characters in total; not for whisper.
        min_volume: Loudness, 0 to 1, below which nothing is speech; whisper only.
        max_silence_duration_secs: Seconds of silence after which text is given without
            `finalize`; whisper only.
        base_url: Scheme and host of the API; `https`, `wss`, `http`, `ws` or no scheme at all.
        cartesia_version: Version of the API.
        extra_headers: More headers of the upgrade request, for what stands between you and the
            API; never printed. How one proves who one is stands in `Credentials` only.
    """

    model: str = "ink-2"
    encoding: Encoding | str = Encoding.PCM_S16LE
    sample_rate: int = 16_000
    language: str | None = None
    keyterms: Sequence[str] = ()
    min_volume: float | None = None
    max_silence_duration_secs: float | None = None
    base_url: str = field(
        default_factory=lambda: os.environ.get("CARTESIA_BASE_URL") or DEFAULT_BASE_URL
    )
    cartesia_version: str = API_VERSION
    extra_headers: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)

    def __post_init__(self) -> None:
        """Refuse what the server could only answer with a broken stream."""
        object.__setattr__(self, "encoding", Encoding.parse(self.encoding))
        object.__setattr__(self, "keyterms", check_keyterms(self.keyterms))
        object.__setattr__(self, "extra_headers", check_headers(self.extra_headers))
        object.__setattr__(self, "language", check_language(self.language, self.model))
        if not self.model:
            raise UsageError("model: is empty; use 'ink-2' or 'ink-whisper'")
        if "whisper" in self.model:
            if self.keyterms:
                raise UsageError(f"keyterms: {self.model!r} takes none; use 'ink-2'")
        elif self.min_volume is not None or self.max_silence_duration_secs is not None:
            raise UsageError(
                f"min_volume, max_silence_duration_secs: {self.model!r} has neither; "
                "use 'ink-whisper'"
            )
        if self.min_volume is not None and not 0 <= self.min_volume <= 1:
            raise UsageError(f"min_volume: {self.min_volume} is not between 0 and 1")
        if self.max_silence_duration_secs is not None and self.max_silence_duration_secs <= 0:
            raise UsageError(
                f"max_silence_duration_secs: {self.max_silence_duration_secs} is not positive"
            )
        check_sample_rate(self.sample_rate)
        websocket_url(self.base_url, MANUAL_PATH)

    @property
    def format(self) -> AudioFormat:
        """The audio this connection takes."""
        return AudioFormat(Encoding(self.encoding), self.sample_rate)

    def url(self, access_token: str | None = None) -> str:
        """The address to dial. A space is `%20`, as the API documents it."""
        parameters = [
            ("model", self.model),
            ("encoding", Encoding(self.encoding).value),
            ("sample_rate", str(self.sample_rate)),
        ]
        if self.language:
            parameters.append(("language", self.language))
        if self.min_volume is not None:
            parameters.append(("min_volume", f"{self.min_volume:g}"))
        if self.max_silence_duration_secs is not None:
            seconds = f"{self.max_silence_duration_secs:g}"
            parameters.append(("max_silence_duration_secs", seconds))
        parameters += [("keyterm", term) for term in self.keyterms]
        if access_token:
            parameters.append(("access_token", access_token))
        address = websocket_url(self.base_url, MANUAL_PATH)
        return f"{address}?{urlencode(parameters, quote_via=quote)}"


def check_language(language: str | None, model: str) -> str | None:
    """Return the language as the API writes it: `en` for `en-US`.

    Raises:
        UsageError: It is no language code, or one that the model does not have.
    """
    if language is None:
        return None
    code = language.replace("_", "-").partition("-")[0].lower()
    if not (code.isascii() and code.isalpha() and 2 <= len(code) <= 3):
        raise UsageError(f"language: {language!r} is no language code such as 'en'")
    if model == "ink-2" and code != "en":
        raise UsageError(
            f"language: 'ink-2' has only English ('en'), not {language!r}; use 'ink-whisper'"
        )
    return code
