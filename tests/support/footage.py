"""Footage for tests: of lengths alone, or of small random frames."""

from dataclasses import dataclass

from vad_jax.data.footage import Footage
from vad_jax.data.frames import Frames


@dataclass(frozen=True)
class Length:
    """A video of which a row's place needs no more: its length and what is broken."""

    length: int
    broken: tuple[int, ...] = ()
    name: str = "video"

    def __len__(self):
        return self.length


def lengths_alone(lengths, broken=None):
    """Footage without pixels."""
    broken = broken or [()] * len(lengths)
    return Footage([Length(n, tuple(gone)) for n, gone in zip(lengths, broken, strict=True)])


def frames_of(array, name="video", *, channels=None, broken=()):
    """Frames uint8 `[F, H, W, c]` as a decoded video."""
    return Frames(
        name=name,
        array=array,
        broken=broken,
        source_size=array.shape[1:3],
        channels=channels or array.shape[-1],
        digest=name,
    )
