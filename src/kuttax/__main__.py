"""`python -m kuttax`."""

from .commands.main import main

main()
