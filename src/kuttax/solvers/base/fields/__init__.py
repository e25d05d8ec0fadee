"""The vector field as a program: traced once, with fast convolutions."""
