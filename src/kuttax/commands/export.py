"""`kuttax export RUN_DIR`: a saved run for programs without kuttax."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from ..errors import UserError
from ..export import to_latex, to_numpy_source, to_stablehlo, to_torch_source
from ..io.atomic import write_bytes, write_text
from ..options.unused import Unused
from ..tasks.abilities import HasProgram
from ..training.checkpoint import load_run
from .saved.output import writing_into

Format = Literal["stablehlo", "torch", "numpy", "latex"]
_OF_SOLVER: dict[str, tuple[str, Callable[[Any], str]]] = {
    "torch": ("solver_torch.py", to_torch_source),
    "numpy": ("solver_numpy.py", to_numpy_source),
    "latex": ("solver.tex", to_latex),
}


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write a saved run for programs without kuttax. stablehlo: the whole model, which any program with JAX can run.
    torch, numpy and latex: the solver's coefficients."""

    format: Format = "stablehlo"
    """Write this format."""

    def unused(self) -> dict[str, Unused]:
        """The options that have no effect beside the others: none."""
        return {}

    def __call__(self, directory: Path, console: Console) -> int:
        """Run the command; returns the exit code."""
        with writing_into(directory, "export") as folder:
            task, model, solver = load_run(directory)
            if self.format == "stablehlo":
                if not isinstance(task, HasProgram):
                    raise UserError(f"the models of {task.name} cannot be exported as a program: use another --format")
                name, data = "model.stablehlo", to_stablehlo(*task.program(model, solver))
                with folder.writing(name):
                    write_bytes(folder.path / name, data)
            else:
                name, source = _OF_SOLVER[self.format]
                text = source(solver)
                with folder.writing(name):
                    write_text(folder.path / name, text)
        console.out(f"Saved: {directory / name}")
        if self.format == "stablehlo":
            console.out(f"Run it: jax.export.deserialize(open({str(directory / name)!r}, 'rb').read()).call(inputs)")
        return 0
