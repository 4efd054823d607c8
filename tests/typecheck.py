"""The run-time type checker of the suite: beartype, taking an int where a float is asked as Python does."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
