"""The measuring harness: kuttax against its peers, and against the least time that the work can take.

`python -m benchmarks run | against | gpu | table | plot`; see `python -m benchmarks --help`.
"""
