"""The toy method `level`, as a config file."""

from vad_jax import config as configs


def get_config():
    return configs.defaults("level")
