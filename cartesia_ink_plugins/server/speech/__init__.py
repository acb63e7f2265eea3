"""The speech engine of the local server.

Read in the order of dependency: `weights`, `features`, `onnx`, `whisper` (the parts); `likelihood`,
`ending`, `words`, `written_form`, `credible` (pure: when is a turn over, which words are certain,
how is a number written, what is believed); `recognise` (one recognition), `listener` (one stream
becomes turns, sans-IO), `ear` and `engine` (threads and the event loop).
"""

from cartesia_ink_plugins.server.speech.engine import SpeechEngine

__all__ = ["SpeechEngine"]
