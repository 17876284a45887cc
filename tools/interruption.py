"""What Ctrl-C and a termination do to a tool: it ends with a line, not a traceback, and leaves nothing behind."""

import contextlib
import signal
import sys

SIGNALS = (signal.SIGINT, signal.SIGTERM)
received = []


def end_at_once() -> None:
    """Let Ctrl-C kill, for the seconds of imports: they leave nothing behind, and can lose an exception."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextlib.contextmanager
def clearing_away():
    """Let both raise SystemExit in the block, so that what it made for a time goes; afterwards they kill."""
    handle(leave)
    try:
        yield
    finally:
        handle(signal.SIG_DFL)


def leave(number, frame) -> None:
    handle(signal.SIG_IGN)  # make passes on a signal that it got, so that a second one follows at once
    received.append(number)
    end_if_asked()


def end_if_asked() -> None:
    """Called before anything is replaced too: a library may have swallowed the first exit."""
    if received:
        sys.exit("Interrupted; every file is as it was, or complete.")


def handle(handler) -> None:
    for number in SIGNALS:
        signal.signal(number, handler)
