"""`python -m kuttax`."""

from .cli import main

main()
