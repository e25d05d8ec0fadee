"""What commands save: the folder of a run, its options and its records."""
