"""Files that more than one command leaves beside a model."""

from pathlib import Path

from ..atomic import whole, write_json
from ..records import Record
from ..report import certificate as drawing
from ..solvers.export import to_torch_source
from ..solvers.learned import LearnedRK
from ..validity import Certificate


def keep_certificate(directory: Path, certificate: Certificate, task: str, data: str) -> Record:
    """certificate.json, certificate.png and certificate.svg; returns what the first holds."""
    record = {**certificate.to_json(), "task": task, "data": data}
    write_json(directory / "certificate.json", record)
    drawing.plot(record, directory / "certificate")
    return record


def keep_for_torch(directory: Path, solver: LearnedRK) -> None:
    """solver_torch.py, the solver for PyTorch."""
    with whole(directory / "solver_torch.py") as partial:
        partial.write_text(to_torch_source(solver))
