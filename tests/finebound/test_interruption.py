"""Ctrl-C ends a command within seconds, also where Python itself cannot act on it."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from finebound.base.interruption import obeyed_interrupts


def interrupted(work: str, *, after: float = 0.0) -> tuple[int, float, str]:
    """Exit code, seconds from the interrupt to the end, and stderr of a script that does ``work``.

    The script prints a line when the work begins.
    """
    script = (
        textwrap.dedent(
            """
        import subprocess, sys, time
        from finebound.base.interruption import obeyed_interrupts
        try:
            with obeyed_interrupts(patience=0.5):
                print("begun", flush=True)
        """
        )
        + textwrap.indent(textwrap.dedent(work), " " * 8)
        + textwrap.dedent(
            """
        except KeyboardInterrupt:
            sys.exit(130)
        """
        )
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "begun\n"
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    start = time.monotonic()
    _, err = process.communicate(timeout=60)
    return process.returncode, time.monotonic() - start, err


def test_ordinary_work_ends_at_once():
    code, seconds, _ = interrupted("time.sleep(60)", after=0.2)
    assert code == 130
    assert seconds < 5


def test_a_call_that_never_returns_to_python_is_ended_too():
    # As in linear algebra, the call lets other threads run and looks at no signal.
    work = "import hashlib; hashlib.pbkdf2_hmac('sha256', b'a', b'b', 400_000_000)"
    code, seconds, err = interrupted(work, after=0.3)
    assert code == 130
    assert seconds < 10
    assert "interrupted" in err


def test_work_that_does_not_let_go_is_ended():
    work = """
    while True:
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            pass
    """
    code, seconds, err = interrupted(work, after=0.2)
    assert code == 130
    assert seconds < 10
    assert "interrupted" in err


def test_children_are_ended_with_it(tmp_path):
    work = f"""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
    while True:
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            pass
    """
    code, _, _ = interrupted(work, after=1.5)
    assert code == 130
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        with open(f"/proc/{pid}/stat") as stat:
            if stat.read().split()[2] == "Z":
                return
        time.sleep(0.1)
    pytest.fail("the child lives on")


def test_a_command_ends_without_waiting_for_its_libraries(tmp_path):
    # A library that takes long to be taken apart, as torch does on a busy machine.
    script = """
import atexit, sys, time
import finebound.cli.doctor
from finebound.cli import main

def work(rest):
    atexit.register(time.sleep, 60)
    print("begun", flush=True)
    time.sleep(60)

finebound.cli.doctor.main = work
sys.argv = ["finebound", "doctor"]
sys.exit(main())
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    start = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert time.monotonic() - start < 5
    assert err == "finebound doctor: interrupted.\n"  # it keeps nothing to go on from


def test_nothing_of_it_is_left_when_the_work_is_done():
    before = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before)
    with obeyed_interrupts():
        pass
    after = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(after)
    assert after == before
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
