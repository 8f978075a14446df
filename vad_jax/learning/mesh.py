"""All devices as one: the batch axis is split over them, everything else is on each."""

from __future__ import annotations

import logging
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

log = logging.getLogger(__name__)


def make(batch_size: int, devices: list[jax.Device] | None = None) -> Mesh:
    """A mesh over as many devices as divide the batch."""
    devices = jax.devices() if devices is None else devices
    number = max(n for n in range(1, len(devices) + 1) if batch_size % n == 0)
    if number < len(devices):
        log.warning(
            "A batch of %d does not divide over %d devices: %d are used. Choose a batch size that "
            "is a multiple of %d.", batch_size, len(devices), number, len(devices)
        )  # fmt: skip
    return Mesh(np.array(devices[:number]), ("batch",))


def split(mesh: Mesh, tree: Any) -> Any:
    """Places arrays with their first axis split over the devices."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec("batch")))


def copy(mesh: Mesh, tree: Any) -> Any:
    """Places a copy of every array on each device."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))
