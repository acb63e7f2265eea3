"""Ctrl-C while a command's event loop runs."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


def run_loop(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a command's event loop; Ctrl-C cancels its main task.

    Before and after, the previous handler is in force: the installed command exits at once.

    Raises:
        KeyboardInterrupt: After Ctrl-C.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return asyncio.run(main)
    finally:
        signal.signal(signal.SIGINT, before)
