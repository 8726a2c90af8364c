"""A gate that is stopped right before its call does not send when it wakes up, however long it was stopped."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from threading import Thread
from time import CLOCK_BOOTTIME, clock_gettime

import pytest

from outreach.gate.fence import Alarm

GATE = """
import asyncio, os, signal, ssl, sys
from time import CLOCK_BOOTTIME, clock_gettime
from uuid import UUID
from phi_common.clock import system_now
from outreach.gate import fence, providers
from outreach.gate.permits import Permit
from datetime import timedelta

LIFE = float(sys.argv[3])

def stop(*_):
    os.kill(os.getpid(), signal.SIGSTOP)

look = fence.look
def look_then_stop(permit):
    look(permit)
    stop()
def stop_then_look(permit):
    stop()
    look(permit)

class NoAlarm(fence.Alarm):
    def _set(self):
        pass

match sys.argv[2]:
    case "behind the look":
        fence.look = look_then_stop
    case "before the look, without an alarm":
        fence.look, fence.ALARM = stop_then_look, NoAlarm()
    case "behind the look, without an alarm":
        fence.look, fence.ALARM = look_then_stop, NoAlarm()
    case "nowhere":
        pass

async def main():
    provider = providers.SmsProvider(sys.argv[1], ssl.create_default_context(), "account", "token")
    permit = Permit(UUID(int=1), clock_gettime(CLOCK_BOOTTIME) + LIFE, system_now() + timedelta(seconds=LIFE))
    outcome = await provider.send(UUID(int=2), "+12025550111", "text", permit)
    print(type(outcome).__name__)

if sys.argv[4] == "uvloop":
    import uvloop
    uvloop.run(main())
else:
    asyncio.run(main())
"""
LIFE = 0.6


@contextmanager
def provider():
    """Takes whatever bytes come, and answers that the message was taken."""
    taken, listening = [], socket.create_server(("127.0.0.1", 0))

    def serve():
        try:
            connection, _ = listening.accept()
            with connection:
                while data := connection.recv(65536):
                    taken.append(data)
                    if b"text" in data:
                        connection.sendall(b'HTTP/1.1 201 Created\r\nContent-Length: 12\r\n\r\n{"id": "SM"}')
        except OSError:
            return

    Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", taken
    finally:
        listening.close()


def run_gate(url, where, loop, stopped_for, life=LIFE):
    """A gate with a pause planted; how it ended and what it said."""
    command = [sys.executable, "-c", GATE, url, where, str(life), loop]
    gate = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    if where != "nowhere":
        _, status = os.waitpid(gate.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), "the planted pause was not reached"
        time.sleep(stopped_for)
        os.kill(gate.pid, signal.SIGCONT)
    said, _ = gate.communicate(timeout=20)
    return gate.returncode, said.strip()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(
    ("where", "stopped_for", "ended", "said", "sent"),
    [
        ("nowhere", 0, 0, "Sent", True),
        ("behind the look", 0.05, 0, "Sent", True),
        ("behind the look", 3 * LIFE, -signal.SIGALRM, "", False),
        ("before the look, without an alarm", 3 * LIFE, 0, "Untouched", False),
    ],
    ids=[
        "no pause",
        "a short pause",
        "the alarm ends a gate that was stopped behind its last look",
        "the last look is behind everything else",
    ],
)
def test_a_stopped_gate_wakes_up_to_send_only_while_its_permit_lives(loop, where, stopped_for, ended, said, sent):
    with provider() as (url, taken):
        code, outcome = run_gate(url, where, loop, stopped_for)
        assert code == ended
        assert outcome == said
        assert any(b"text" in data for data in taken) is sent


def test_without_the_alarm_this_test_sees_the_message_go_out():
    with provider() as (url, taken):
        run_gate(url, "behind the look, without an alarm", "asyncio", 3 * LIFE)
        assert any(b"text" in data for data in taken)


def test_the_alarm_is_set_to_the_earliest_deadline_and_taken_back():
    alarm, now = Alarm(), clock_gettime(CLOCK_BOOTTIME)
    with alarm.until(now + 100):
        assert 99 < signal.getitimer(signal.ITIMER_REAL)[0] <= 100
        with alarm.until(now + 50):
            assert 49 < signal.getitimer(signal.ITIMER_REAL)[0] <= 50
        assert 99 < signal.getitimer(signal.ITIMER_REAL)[0] <= 100
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


CHILD = """
import os, signal, sys
from outreach.gate.fence import arm_this_process, become_a_child
{how}
if sys.argv[1] == "alarm":
    signal.setitimer(signal.ITIMER_REAL, 0.05)
print("up", flush=True)
signal.pause()
"""


def test_an_alarm_that_a_parent_ignored_and_blocked_works():
    how = "signal.signal(signal.SIGALRM, signal.SIG_IGN); signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})"
    script = CHILD.replace("{how}", f"{how}; arm_this_process()")
    assert (
        subprocess.run([sys.executable, "-c", script, "alarm"], timeout=20, check=False).returncode == -signal.SIGALRM
    )


@pytest.mark.parametrize(("by", "code"), [("alarm", 128 + signal.SIGALRM), ("parent", 128 + signal.SIGTERM)])
def test_below_process_1_the_gate_is_a_child_that_can_be_ended(by, code):
    """Process 1 of a container would survive the alarm; here any process plays it."""
    script = CHILD.replace("{how}", "become_a_child()")
    one = subprocess.Popen([sys.executable, "-c", script, by], stdout=subprocess.PIPE, text=True)
    assert one.stdout.readline() == "up\n"
    if by == "parent":
        time.sleep(0.2)  # the child is up before its parent listens
        one.send_signal(signal.SIGTERM)
    assert one.wait(20) == code
