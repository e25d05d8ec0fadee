"""The program: its command line, how a command begins, and how it ends."""
