"""The vector field as a program: traced once, with fast convolutions, and with all values that it depends on."""
