"""Random inputs against independent truths: solves, command lines and damaged files.

    python -m tests.fuzz [engine] [commands] [files] [--cases 600] [--seed 0] [--case N] [--record]

Without a part, all three run. Every failure is printed with the command that runs its case alone.
"""
