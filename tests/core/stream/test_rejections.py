"""Which answers end a session."""

from __future__ import annotations

import pytest

from cartesia_ink_plugins.core.stream.rejections import Rejections

PERMANENT = [400, 401, 402, 403, 404, 409, 422, 451]
PASSING = [302, 407, 408, 421, 425, 429, 500, 503]


def accepted() -> Rejections:
    rejections = Rejections()
    rejections.accepted()
    return rejections


@pytest.mark.parametrize("is_api_error", [True, False])
@pytest.mark.parametrize("status", PERMANENT)
def test_the_very_first_answer_counts_whoever_gave_it(status: int, is_api_error: bool) -> None:
    assert Rejections().is_final(status, 0.0, is_api_error=is_api_error)


@pytest.mark.parametrize("is_api_error", [True, False])
@pytest.mark.parametrize("status", PASSING)
def test_what_may_pass_never_does(status: int, is_api_error: bool) -> None:
    for rejections in (Rejections(), accepted()):
        for at in range(0, 600, 5):
            assert not rejections.is_final(status, float(at), is_api_error=is_api_error)


@pytest.mark.parametrize("status", PERMANENT)
class TestAfterAnAcceptance:
    def test_an_error_of_the_api_counts_at_once(self, status: int) -> None:
        assert accepted().is_final(status, 0.0, is_api_error=True)

    def test_another_answer_counts_when_it_stays_for_a_minute(self, status: int) -> None:
        rejections = accepted()
        final = [rejections.is_final(status, 5.0 * n, is_api_error=False) for n in range(13)]
        assert final == [False] * 12 + [True]

    def test_two_answers_are_too_few_however_far_apart(self, status: int) -> None:
        rejections = accepted()
        assert not rejections.is_final(status, 0.0, is_api_error=False)
        assert not rejections.is_final(status, 300.0, is_api_error=False)

    @pytest.mark.parametrize("other", [418, 503])
    def test_an_answer_that_changes_begins_anew(self, status: int, other: int) -> None:
        rejections = accepted()
        for at in range(0, 600, 10):
            answer = other if at % 50 == 0 else status
            assert not rejections.is_final(answer, float(at), is_api_error=False)

    def test_so_does_a_connection_that_was_accepted(self, status: int) -> None:
        rejections = accepted()
        for at in range(0, 600, 10):
            assert not rejections.is_final(status, float(at), is_api_error=False)
            if at % 50 == 0:
                rejections.accepted()
