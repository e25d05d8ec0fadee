"""What all solvers share: the problem, the solution, the grid, time."""
