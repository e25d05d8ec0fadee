"""Starting: when kuttax runs as a program, Ctrl-C ends it with one line, even during the imports, and XLA logs nothing.

Imported first, and itself almost without imports. In another program or a notebook it changes nothing.
"""

import os
import signal
import sys
import threading
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
"""The exit code after Ctrl-C, as in a shell: 128 + SIGINT."""


def end_at_once(number: int = signal.SIGINT, frame: FrameType | None = None) -> NoReturn:
    """End the process with one line: without an exception, which interrupted code could catch or extend."""
    os.write(2, b"kuttax: stopped\n")
    os._exit(INTERRUPTED)


def handle_interrupts() -> None:
    """Let Ctrl-C end the process at once, unless it is ignored, as after nohup."""
    of_main = threading.current_thread() is threading.main_thread()
    if of_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, end_at_once)


def _is_program() -> bool:
    """Whether this process is `kuttax` or `python -m kuttax`, which import the package before their main module."""
    name = os.path.basename(sys.argv[0]) if getattr(sys, "argv", None) else ""
    if name != "-m":
        return os.path.splitext(name)[0] == "kuttax"
    words = sys.orig_argv
    return "-m" in words[:-1] and words[words.index("-m") + 1] == "kuttax"


def hide_alarms() -> None:
    """XLA's own log reaches a user only if asked for: its alarm about a slow compilation frightens, and helps nobody.

    Errors of XLA are exceptions in Python, and stay.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


if _is_program():
    handle_interrupts()
    hide_alarms()
