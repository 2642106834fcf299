"""Ctrl-C is obeyed within seconds, also while one long call of a library runs."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import NoReturn

PATIENCE = 4.0
"""Seconds that the work has to end by itself."""
INTERRUPTED = 130
"""The exit code of an interrupted command."""


@contextmanager
def obeyed_interrupts(*, patience: float = PATIENCE) -> Generator[None]:
    """Within it an interrupt ends the process after ``patience`` seconds at the latest.

    Python tells the main thread of a signal only between two of its own instructions, which a
    library's call may not reach for minutes. A thread hears of it at once, waits, and ends the
    process and its children (a call that also keeps other threads from running delays it). Every
    record is written whole or not at all, so nothing is lost that was finished. Outside the main
    thread, and under a handler of somebody else, nothing changes.
    """
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    heard, told = os.pipe()
    os.set_blocking(told, False)
    ended = threading.Event()

    def wait() -> None:
        while byte := os.read(heard, 1):
            if byte[0] == signal.SIGINT and not ended.wait(patience):
                print("finebound: interrupted.", file=sys.stderr, flush=True)
                leave()

    before = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    thread = threading.Thread(target=wait, name="interrupts", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        signal.set_wakeup_fd(before)
        os.close(told)
        thread.join()
        os.close(heard)


def leave() -> NoReturn:
    """End this process and its children with INTERRUPTED; what is not flushed is lost.

    Python takes apart what libraries loaded before it ends a process by itself, which can take
    longer than all the patience there is.
    """
    end_children()
    os._exit(INTERRUPTED)


def end_children() -> None:
    """Ask every child process of this one to end; where /proc is not there, none is found."""
    with suppress(OSError):
        for thread in os.scandir("/proc/self/task"):
            with open(f"{thread.path}/children") as listed:
                for child in listed.read().split():
                    with suppress(OSError):
                        os.kill(int(child), signal.SIGTERM)
