"""Raw data sets by name: what lies in a folder, found without decoding a frame."""

from vad_jax.data.source import Source
from vad_jax.datasets.catalogue import NAMES, exclusions, open_dataset
from vad_jax.datasets.dataset import Dataset, Event
from vad_jax.datasets.raw.counts import Published
from vad_jax.datasets.raw.named import published
from vad_jax.datasets.raw.places import Truth, truths

__all__ = [
    "NAMES",
    "Dataset",
    "Event",
    "Published",
    "Source",
    "Truth",
    "exclusions",
    "open_dataset",
    "published",
    "truths",
]
