"""Files that more than one command saves beside a model."""

from typing import Any

from ...export.schemes import to_torch_source
from ...io import json_file
from ...io.atomic import write_json, write_text
from ...io.folder import Folder
from ...io.records import Record
from ...report import certificate as drawing
from ...validity import Certificate


def picture(name: str) -> tuple[str, str]:
    """The two files of a plot."""
    return f"{name}.png", f"{name}.svg"


def save_certificate(folder: Folder, certificate: Certificate, task: str, data: str) -> Record:
    """Save certificate.json, certificate.png and certificate.svg; returns the contents of the first."""
    record = {**certificate.to_json(), "task": task, "data": data}
    with folder.writing("certificate.json", *picture("certificate")):
        write_json(folder.path / "certificate.json", record)
        drawing.plot(record, folder.path / "certificate")
    return record


def save_record(folder: Folder, record: Record) -> None:
    """Save record.json: the description and the results of a run."""
    with folder.writing("record.json"):
        write_json(folder.path / "record.json", record)


def read_record(folder: Folder) -> Record:
    """The saved description and results of a run.

    Raises:
        UserError: The file is damaged.
    """
    mend = "start again with --overwrite"
    folder.check("record.json", mend)
    return json_file.read(folder.path / "record.json", {str: object}, mend)


def save_for_torch(folder: Folder, solver: Any) -> None:
    """Save solver_torch.py, the solver for PyTorch."""
    with folder.writing("solver_torch.py"):
        write_text(folder.path / "solver_torch.py", to_torch_source(solver))
