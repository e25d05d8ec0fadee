"""ComparedOptions: what a comparison compares, and how each of its runs trains."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields

from ...errors import UserError
from ...options.bounds import check_bounds
from ...options.unused import Unused, unless
from ...solvers.leaves import learns
from ...tasks.options import TaskOptions
from ...training.settings import Settings
from ..fit import Budget
from .method import SOLVERS, ComparedMethod, penalties, solvers, solvers_of_sdes
from .penalty import PenaltyOptions
from .solver import LEARNED, ClassicalOptions, SolverOptions
from .task_unused import unused_in_task


@dataclass(frozen=True, kw_only=True)
class OneSolver(SolverOptions):
    """The solver of --penalties, and what the learned solvers of the comparison may learn."""

    solver: str = "tsit5"
    """Compare --penalties under this solver: learned, or a classical one, as for kuttax train."""


@dataclass(frozen=True, kw_only=True)
class ComparedOptions:
    """The methods of a comparison and the settings of its runs, in plain values."""

    nfe: tuple[Budget, ...] | None = None
    """Compare fixed-step solvers of these budgets: evaluations of the field in one solve (default: 4 8)."""
    methods: tuple[str, ...] | None = None
    """Compare only these solvers. ODE: dopri5, rk4, midpoint, learned (default: all). SDE: spark, euler-maruyama,
    milstein, stochastic-heun, srk, learned-srk (default: all for its --calculus)."""
    penalties: tuple[str, ...] | None = None
    """Compare these penalties instead of solvers, each at its own weight: names as for --penalty, or all."""
    penalty: PenaltyOptions = field(default_factory=PenaltyOptions)
    solver: OneSolver = field(default_factory=OneSolver)
    training: Settings = field(default_factory=Settings)

    def __post_init__(self):
        check_bounds(self)

    def unused(self, options: TaskOptions) -> dict[str, Unused]:
        """The options that have no effect beside the others and the task's."""
        rows = self.rows(options, lambda text: None)
        penalised = self.penalties is not None or self.penalty.build().name is not None
        return {
            **(self._unused_of_solvers(options, rows) if self.penalties is None else self._unused_of_penalties()),
            **self.training.unused(learns=any(learns(row.solver) for row in rows)),
            **unused_in_task(options, [row.solver for row in rows], penalised=penalised),
        }

    def _unused_of_penalties(self) -> dict[str, Unused]:
        """Those of a comparison of solvers in one of penalties."""
        one, several = "with --penalties, which compares with one --solver", "with --penalties, each of its own weight"
        return {
            **self.solver.unused(),
            **unless(False, ["methods", "nfe"], one, "leave out --penalties"),
            **unless(False, [option.name for option in fields(PenaltyOptions)], several, "leave out --penalties"),
        }

    def _unused_of_solvers(self, options: TaskOptions, rows: list[ComparedMethod]) -> dict[str, Unused]:
        """Those of the one solver of --penalties in a comparison of solvers, and of solvers that are not compared."""
        learned = {row.name: LEARNED if row.name == "learned" else ("shared",) for row in rows if learns(row.solver)}
        used = {name for names in learned.values() for name in names}
        others = [name for name in LEARNED if name not in used]
        several = any(learns(row.solver) and row.solver.number_of_steps() > 1 for row in rows)
        tolerance = options.calculus is not None and any(row.budget is None for row in rows)
        one = [option.name for option in fields(ClassicalOptions) if option.name not in ("rtol", "atol")]
        which = "without --penalties: --methods and --nfe say which solvers are compared", "give --penalties"
        return {
            **self.penalty.unused(),
            **unless(False, one, *which),
            **unless(tolerance, ["rtol", "atol"], *which),
            **unless(not learned or several, ["shared", "equal_steps"], "in solvers of one step", "raise --nfe"),
            **unless(False, others, "where no learned solver that has it is compared", "add to --methods"),
            **unless(any(row.budget for row in rows), ["nfe"], "with adaptive solvers alone", "add to --methods"),
        }

    def rows(self, options: TaskOptions, say: Callable[[str], None]) -> list[ComparedMethod]:
        """The rows that the options name; `say` reports the ones left out."""
        if self.penalties is not None:
            return list(penalties(self.penalties, self.solver, say))
        budgets, penalty = (4, 8) if self.nfe is None else self.nfe, self.penalty.build()
        if options.calculus is not None:
            rows = list(solvers_of_sdes(options.calculus, self.methods, budgets, self.solver, penalty, say))
        else:
            names = SOLVERS if self.methods is None else self.methods
            rows = list(solvers(names, budgets, self.solver, penalty, say))
        if not rows:
            raise UserError("no method is left to run: give --methods, or budgets --nfe that they can meet")
        return rows
