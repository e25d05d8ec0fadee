"""The type checker of the tests: beartype on every annotated function of kuttax, where an int passes for a float."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
