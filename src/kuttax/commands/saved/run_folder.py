"""The output folder of one run: whether it holds this run already, and how it is begun."""

from typing import Any

from rich.console import Console

from ...io import checkpoints
from ...io.folder import Folder
from .configuration import holds_result, save_configuration
from .output import CHECKPOINTS, Output, listed


def finished(output: Output, config: dict[str, Any], console: Console) -> bool:
    """Whether the folder is to be resumed, is of these options and has a result; it is then tidied up.

    Args:
        output: The folder.
        config: The options that must be the same to continue the run.
        console: For a line that says so.

    Raises:
        UserError: It is of other options, there is none, or another process uses it.
    """
    output.refuse_used()
    if not (output.resume and holds_result(output.folder, config)):
        return False
    checkpoints.clear(output.folder.path / CHECKPOINTS)  # of a process that was killed after its last record
    output.finish()
    console.out(f"{output.out} holds a finished run: nothing is left to do")
    return True


def begin(output: Output, config: dict[str, Any], console: Console) -> Folder:
    """Create the folder with these options in it, ready for checkpoints; returns where to write.

    Args:
        output: The folder.
        config: The options that must be the same to continue the run.
        console: For a line if there is nothing to resume.

    Raises:
        UserError: As `finished`, or it cannot be created.
    """
    folder = output.begin()
    save_configuration(folder, config)
    folder.claim(*listed())
    if output.resume and not (folder.path / CHECKPOINTS).exists():
        console.out(f"nothing is saved in {output.out} yet: the run begins")
    return folder
