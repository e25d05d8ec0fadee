"""Points: embedded tables, benchmark tables, toys, and files of a user."""
