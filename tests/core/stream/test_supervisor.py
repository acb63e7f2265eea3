"""The connection is opened, found to be dead and closed at the right time."""

from __future__ import annotations

import logging

import pytest

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.options import Resilience
from cartesia_ink_plugins.core.stream.connection_state import ConnectionState
from cartesia_ink_plugins.core.stream.outbox import Action, Connect, Drop, Ping
from cartesia_ink_plugins.core.stream.sender import AudioSender
from cartesia_ink_plugins.core.stream.supervisor import ConnectionSupervisor
from cartesia_ink_plugins.core.tap import Moment, Taps
from tests.core.observers import Impatient

PCM16 = AudioFormat()
LOG = logging.getLogger("test")
NEVER = float("inf")


class Network:
    """Drives a supervisor: the test is the network and the clock."""

    def __init__(self, connect_timeout: float = 5.0, jitter: float = 0.5) -> None:
        self.actions: list[Action] = []
        self.moments: list[Moment] = []
        taps = Taps([self], LOG)
        self.sender = AudioSender(PCM16, Resilience(), self.actions.append, taps)
        self.supervisor = ConnectionSupervisor(
            self.sender, connect_timeout, jitter=lambda: jitter, taps=taps, log=LOG
        )
        self.now = 0.0
        self.answers_pings = True

    def on(self, moment: Moment) -> None:
        self.moments.append(moment)

    def connect(self) -> None:
        self.supervisor.connect(self.now)

    def open(self, request_id: str | None = None) -> None:
        self.supervisor.opened(self.now, request_id)
        self.sender.connection_opened(self.sender.sent, self.now)

    def lose(self, delay: float | None) -> None:
        self.sender.connection_lost()
        self.supervisor.lost(self.now, delay)

    def wait(self, seconds: float) -> str | None:
        """Let time pass; return why the connection must be replaced, if it must."""
        end = self.now + seconds
        while self.supervisor.next_at <= end:
            self.now = max(self.now, self.supervisor.next_at)
            if reason := self.supervisor.check(self.now):
                return reason
            if self.supervisor.state is ConnectionState.OPEN:
                self.sender.pump(self.now, flush=True)
            for ping in [a for a in self.actions if isinstance(a, Ping) and self.answers_pings]:
                self.actions.remove(ping)
                self.supervisor.pong_received(ping.number, self.now)
        self.now = end
        return None


def connected() -> Network:
    network = Network()
    network.connect()
    network.open()
    network.actions.clear()
    return network


def test_before_the_first_connection_nothing_is_accepted() -> None:
    supervisor = Network().supervisor
    assert supervisor.request_id is None
    assert not supervisor.is_accepted
    assert not supervisor.is_active
    assert supervisor.next_at == NEVER


class TestPolicyClose:
    def test_of_a_connection_in_use_is_no_answer_to_a_later_attempt(self) -> None:
        network = connected()
        network.supervisor.accepted()
        for at in (0.0, 30.0, 61.0):  # three of them would end the session
            assert not network.supervisor.is_rejected_by_close(1008, at)
            network.lose(0.0)
            network.connect()
            network.open()

    def test_counts_as_the_answer_400(self) -> None:
        supervisor = connected().supervisor
        supervisor.rejections.accepted()
        assert not supervisor.rejections.is_final(400, 0.0, is_api_error=False)
        assert not supervisor.is_rejected_by_close(1008, 30.0)
        assert supervisor.is_rejected_by_close(1008, 61.0)


class TestConnecting:
    def test_there_is_one_attempt_at_a_time(self) -> None:
        network = Network()
        assert network.actions == []
        for _ in range(5):
            network.connect()
        assert network.actions == [Connect()]

    def test_an_open_connection_is_not_opened_again(self) -> None:
        network = connected()
        network.connect()
        assert network.actions == []

    def test_an_attempt_without_an_answer_is_given_up(self) -> None:
        network = Network(connect_timeout=3.0)
        network.connect()
        assert network.wait(2.9) is None
        assert network.wait(0.2) == "no answer to the handshake"

    def test_an_attempt_that_succeeded_is_not_given_up(self) -> None:
        network = Network(connect_timeout=3.0)
        network.connect()
        network.open()
        assert network.wait(10.0) is None

    def test_after_a_loss_the_next_attempt_is_made_when_the_delay_is_over(self) -> None:
        network = connected()
        network.lose(0.25)
        network.connect()
        network.lose(0.25)
        network.actions.clear()
        assert network.supervisor.state is ConnectionState.BACKOFF
        network.wait(0.24)
        assert network.actions == []
        network.wait(0.02)
        assert network.actions == [Connect()]

    def test_without_a_delay_nothing_is_done_until_there_is_audio(self) -> None:
        network = connected()
        network.lose(None)
        assert network.supervisor.next_at == NEVER
        network.wait(1000.0)
        assert network.actions == []
        network.connect()
        assert network.actions == [Connect()]

    def test_an_opened_connection_is_sent_a_ping_at_once(self) -> None:
        network = Network()
        network.connect()
        network.open("request")
        assert network.actions == [Connect(), Ping()]
        assert network.supervisor.request_id == "request"
        assert network.supervisor.opened_at == network.now

    def test_a_new_connection_has_shown_nothing_yet(self) -> None:
        network = connected()
        network.supervisor.is_accepted = True
        network.lose(0.0)
        network.connect()
        network.open()
        assert not network.supervisor.is_accepted

    def test_every_step_is_a_moment_and_connections_are_counted(self) -> None:
        network = Network()
        network.connect()
        network.open("one")
        network.lose(0.0)
        network.connect()
        network.open("two")
        assert [(m.kind.value, m.connection, m.payload) for m in network.moments] == [
            ("connecting", 0, None),
            ("opened", 1, "one"),
            ("connecting", 1, None),
            ("opened", 2, "two"),
        ]


class TestClosing:
    def test_an_open_connection_is_dropped_and_nothing_follows(self) -> None:
        network = connected()
        network.supervisor.close()
        assert network.actions == [Drop()]
        network.wait(100.0)
        network.connect()
        assert network.actions == [Drop()]
        assert network.supervisor.next_at == NEVER

    def test_so_is_an_attempt(self) -> None:
        network = Network()
        network.connect()
        network.supervisor.close()
        assert network.actions == [Connect(), Drop()]
        assert network.supervisor.next_at == NEVER

    @pytest.mark.parametrize("delay", [None, 1.0])
    def test_where_there_is_none_nothing_is_dropped(self, delay: float | None) -> None:
        network = connected()
        network.lose(delay)
        network.supervisor.close()
        assert network.actions == []
        network.wait(100.0)
        assert network.actions == []


class TestDeadConnections:
    def test_a_ping_without_an_answer_within_six_seconds(self) -> None:
        network = connected()
        network.answers_pings = False
        assert network.wait(6.0) == "no answer to a ping"

    def test_pings_that_are_answered_keep_the_connection(self) -> None:
        network = connected()
        assert network.wait(60.0) is None

    def test_messages_keep_the_connection_too(self) -> None:
        network = connected()
        network.answers_pings = False
        for _ in range(60):
            assert network.wait(1.0) is None
            network.supervisor.message_received(network.now)

    def test_a_socket_that_stays_blocked(self) -> None:
        network = connected()
        network.sender.blocked_since = network.now
        assert network.wait(4.9) is None
        assert network.wait(0.2) == "the server takes no audio"

    def test_a_socket_that_was_blocked_for_a_moment_is_not(self) -> None:
        network = connected()
        network.sender.blocked_since = network.now
        assert network.wait(4.0) is None
        network.sender.blocked_since = None
        assert network.wait(60.0) is None


class TestBackoff:
    def test_a_handshake_alone_does_not_reset_it(self) -> None:
        network = connected()
        delays = []
        for _ in range(3):
            delay = network.supervisor.backoff.delay(network.now)
            delays.append(delay)
            network.lose(delay)
            network.wait(delay)
            network.open()
            network.wait(9.0)
        assert delays == sorted(delays)
        assert delays[0] < delays[1] < delays[2]

    def test_ten_seconds_without_a_fault_reset_it(self) -> None:
        network = connected()
        assert network.supervisor.backoff.delay(0.0) == 0.0
        assert network.wait(9.0) is None
        assert network.supervisor.backoff.delay(network.now) > 0.0
        assert network.wait(4.0) is None
        assert network.supervisor.backoff.delay(network.now) == 0.0

    def test_progress_resets_it(self) -> None:
        network = connected()
        assert network.supervisor.backoff.delay(0.0) == 0.0
        network.supervisor.made_progress()
        assert network.supervisor.backoff.delay(0.0) == 0.0

    def test_ten_seconds_of_a_later_connection_reset_it_too(self) -> None:
        network = connected()
        network.supervisor.made_progress()
        for _ in range(4):
            delay = network.supervisor.backoff.delay(network.now)
            network.lose(delay)
            network.wait(delay + 0.01)
            network.open()
        assert network.wait(13.0) is None
        assert network.supervisor.backoff.delay(network.now) == 0.0


class TestReconnectPolicy:
    def test_of_the_application_replaces_the_backoff(self) -> None:
        network, policy = connected(), Impatient()
        network.supervisor.set_reconnect_policy(policy, None, network.now)
        assert [network.supervisor.backoff.delay(0.0) for _ in range(3)] == [0.125] * 3
        network.supervisor.made_progress()
        assert policy.resets == 1

    def test_none_is_the_default_again(self) -> None:
        network = connected()
        network.supervisor.set_reconnect_policy(Impatient(), 1.0, network.now)
        network.supervisor.set_reconnect_policy(None, None, network.now)
        assert network.supervisor.backoff.delay(0.0) == 0.0
        network.lose(0.0)
        network.connect()
        assert network.wait(4.9) is None
        assert network.wait(0.2) == "no answer to the handshake"

    def test_a_delay_that_is_under_way_is_ended(self) -> None:
        network = connected()
        network.lose(60.0)
        network.supervisor.set_reconnect_policy(Impatient(), None, network.now)
        assert network.actions == [Connect()]

    def test_an_attempt_that_is_under_way_gets_the_new_time_limit(self) -> None:
        network = Network(connect_timeout=5.0)
        network.connect()
        network.wait(1.0)
        network.supervisor.set_reconnect_policy(Impatient(), 2.0, network.now)
        assert network.actions == [Connect()]
        assert network.wait(1.9) is None
        assert network.wait(0.2) == "no answer to the handshake"

    def test_an_attempt_that_is_under_way_gets_no_more_time(self) -> None:
        network = Network(connect_timeout=5.0)
        network.connect()
        network.wait(4.0)
        network.supervisor.set_reconnect_policy(Impatient(), 30.0, network.now)
        assert network.wait(1.1) == "no answer to the handshake"

    @pytest.mark.parametrize("is_open", [True, False])
    def test_an_open_or_idle_connection_is_left_alone(self, is_open: bool) -> None:
        network = connected()
        if not is_open:
            network.lose(None)
        state = network.supervisor.state
        network.supervisor.set_reconnect_policy(Impatient(), 1.0, network.now)
        assert network.actions == []
        assert network.supervisor.state is state


@pytest.mark.parametrize("jitter", [0.0, 1.0])
def test_the_first_ping_is_due_one_to_two_seconds_after_a_connection_was_opened(
    jitter: float,
) -> None:
    """Connections that were opened in one instant are not all pinged in one."""
    network = Network(jitter=jitter)
    network.now = 100.0
    network.connect()
    network.open()
    assert network.supervisor.next_at == 102.0 - jitter


def test_a_connection_that_lives_for_ten_seconds_was_accepted() -> None:
    network = connected()
    network.wait(13.0)
    assert not network.supervisor.rejections.is_final(403, network.now, is_api_error=False)


def test_opening_connections_costs_their_budget_whatever_progress_they_make() -> None:
    network, delays = Network(), []
    for _ in range(6):
        network.connect()
        network.open()
        network.supervisor.made_progress()
        delays.append(network.supervisor.reconnect_delay(network.now))
        network.lose(0.0)
    assert delays[:4] == [0.0] * 4
    assert delays[4] == 2.0
