"""Options of tiny runs on the command line."""

SMALL = ("--width", "4", "--train-steps", "4", "--per-dispatch", "2", "--evaluations", "1", "--batch-size", "72")
"""72 divides digits' validation and test set, so that every program is compiled for one size of batch."""
