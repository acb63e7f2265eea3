"""The error tree, and whether a failure is worth a retry."""

from __future__ import annotations

import pytest

from cartesia_ink_plugins.core.errors import (
    ClosedError,
    InkError,
    RejectedError,
    TranscriptionError,
    TurnOrderError,
    UsageError,
    is_permanent,
)


@pytest.mark.parametrize(
    "kind", [UsageError, ClosedError, RejectedError, TranscriptionError, TurnOrderError]
)
def test_one_except_clause_catches_every_error_of_this_package(kind: type[InkError]) -> None:
    assert issubclass(kind, InkError)


def test_wrong_arguments_are_value_errors_too() -> None:
    assert issubclass(UsageError, ValueError)
    assert issubclass(ClosedError, UsageError)


def test_a_rejection_has_what_support_asks_for() -> None:
    error = RejectedError("No credit", status=402, code="quota_exceeded", request_id="r")
    assert (str(error), error.status, error.code, error.request_id) == (
        "No credit",
        402,
        "quota_exceeded",
        "r",
    )
    assert RejectedError("No").status is None


@pytest.mark.parametrize(
    ("status", "permanent"),
    [
        (400, True),
        (401, True),
        (402, True),
        (403, True),
        (404, True),
        (407, False),
        (408, False),
        (421, False),
        (422, True),
        (425, False),
        (429, False),
        (499, True),
        (500, False),
        (502, False),
        (503, False),
        (504, False),
        (302, False),
        (200, False),
    ],
)
def test_4xx_is_permanent_but_for_what_may_change_and_all_else_may_pass(
    status: int, permanent: bool
) -> None:
    assert is_permanent(status) is permanent
