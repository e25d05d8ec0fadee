"""Options of the commands, and how the command line reads them."""
