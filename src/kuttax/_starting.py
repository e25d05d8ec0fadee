"""Starting: Ctrl-C ends in one line already while the package and JAX are imported, where kuttax runs as a program.

Imported first of all, and itself next to nothing. In a program or notebook of somebody else it changes nothing.
"""

import os
import signal
import sys
import threading
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
"""The exit code after Ctrl-C, as a shell has it: 128 + SIGINT."""


def end_at_once(number: int = signal.SIGINT, frame: FrameType | None = None) -> NoReturn:
    """End the process with one line: no exception, which code that is interrupted could swallow or decorate."""
    os.write(2, b"kuttax: stopped\n")
    os._exit(INTERRUPTED)


def handle_interrupts() -> None:
    """Let Ctrl-C end the process at once, unless it is ignored, as after nohup."""
    of_main = threading.current_thread() is threading.main_thread()
    if of_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, end_at_once)


def _is_program() -> bool:
    """Whether this process is `kuttax` or `python -m kuttax`, whose package is imported before its main module."""
    name = os.path.basename(sys.argv[0]) if getattr(sys, "argv", None) else ""
    if name != "-m":
        return os.path.splitext(name)[0] == "kuttax"
    words = sys.orig_argv
    return "-m" in words[:-1] and words[words.index("-m") + 1] == "kuttax"


if _is_program():
    handle_interrupts()
