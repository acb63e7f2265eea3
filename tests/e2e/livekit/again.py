"""Calls that are held again when the room spoilt what was said.

A busy machine starves a room, which then fills the gap with sound that is no word (at a load of 15
on two cores, in a quarter of the calls). That says nothing about this plugin.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import ParamSpec

_CALLS = 4
P = ParamSpec("P")


class Spoilt(Exception):
    """The room did not bring the agent every word."""


def held_again(test: Callable[P, Awaitable[None]]) -> Callable[P, Awaitable[None]]:
    """Hold the call of a test again, three times at the most, where the room spoilt it."""

    @functools.wraps(test)
    async def repeated(*args: P.args, **kwargs: P.kwargs) -> None:
        for _ in range(_CALLS - 1):
            try:
                return await test(*args, **kwargs)
            except Spoilt as error:
                print(f"\nheld again: {error}")
        return await test(*args, **kwargs)

    return repeated
