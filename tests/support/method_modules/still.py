"""A method that learns nothing: strange is what moves; every frame of its windows is scored."""

from support.toys import spec, toy

KEYS = {}


def complete(config):
    """Nothing follows from other keys."""


def create(config):
    """The method of a completed config."""
    return toy(spec(frames=16, step=8, height=8, width=8), stages=())
