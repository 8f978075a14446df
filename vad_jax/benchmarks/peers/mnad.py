"""MNAD in PyTorch, with the tensor names of the authors' state dict; `variant="code"` only.

Letters: B rows, T frames, N queries of a row, M items, C channels. Images are NCHW here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from vad_jax.types import ConfigError, DataError

Mode = Literal["eager", "channels_last", "compile"]
WINDOWS = {  # task → offsets that the network sees, and the one that it makes
    "prediction": (range(4), 4),
    "reconstruction": (range(1), 0),
    "middle": (range(16), 8),
}


def train_step(
    config,
    tensors: Mapping[str, np.ndarray],
    memory: np.ndarray | None,
    *,
    mode: Mode,
    device: str = "cpu",
) -> Callable[[np.ndarray], torch.Tensor]:
    """A whole training step: forward, losses, gradient, Adam, memory update.

    Args:
      config: completed; its precision and learning rate are used, the rate stays.
      tensors: parameters by published name, in torch layout; their dtype is kept.
      memory: items `[M, C]`, or None without a memory.
      mode: how PyTorch runs it.
      device: of PyTorch.

    Returns:
      A function of uint8 frames `[B, T, H, W, channels]` on the host, to the loss before the step;
      parameters, statistics, slots and items move inside from call to call.
    """
    model = Model(config, tensors, mode=mode, device=device).train()
    optimizer = torch.optim.Adam(
        model.parameters(), lr=config.stages.train.learning_rate, fused=True
    )
    objective = torch.compile(model.objective) if mode == "compile" else model.objective
    items = _items(model, memory)

    def step(frames: np.ndarray) -> torch.Tensor:
        nonlocal items
        optimizer.zero_grad(set_to_none=True)
        loss, items = objective(torch.from_numpy(frames).to(device), items)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def score(
    config,
    tensors: Mapping[str, np.ndarray],
    memory: np.ndarray | None,
    *,
    mode: Mode,
    device: str = "cpu",
) -> Callable[[np.ndarray], torch.Tensor]:
    """The network with running statistics, PSNR and distance; the memory stays as it is.

    Arguments as of `train_step`.

    Returns:
      A function of uint8 frames `[B, T, H, W, channels]` to the parts `[B, 2]`: psnr in dB and
      distance (`[B, 1]` without a memory).
    """
    model = Model(config, tensors, mode=mode, device=device).eval()
    parts = torch.compile(model.parts) if mode == "compile" else model.parts
    items = _items(model, memory)

    @torch.inference_mode()
    def run(frames: np.ndarray) -> torch.Tensor:
        return parts(torch.from_numpy(frames).to(device), items)

    return run


class Model(nn.Module):
    """The network and what is computed with it."""

    def __init__(self, config, tensors, *, mode: Mode, device: str = "cpu"):
        super().__init__()
        if config.variant != "code":
            raise ConfigError(
                f"variant = {config.variant!r}: the PyTorch twin of mnad computes what the "
                "published code does. Give --config.variant=code, or leave --torch out."
            )
        self.sees, self.target = WINDOWS[config.task]
        self.with_items = config.memory["items"] > 0
        self.compact, self.separate = config.weights.compact, config.weights.separate
        self.margin = config.margin
        self.half = config.precision == "bfloat16"
        self.layout = torch.contiguous_format if mode == "eager" else torch.channels_last
        width, channels = config.width, config.input.channels
        skips = config.task == "prediction"
        self.encoder = Encoder(len(self.sees) * channels, width)
        self.decoder = Decoder((16 if self.with_items else 8) * width, width, channels, skips)
        self._load(tensors)
        self.to(device=device, memory_format=self.layout)

    def _load(self, tensors):
        given = {name: torch.tensor(np.asarray(array)) for name, array in tensors.items()}
        self.to(next(iter(given.values())).dtype)
        missing, unknown = self.load_state_dict(given, strict=False)
        statistics = ("running_mean", "running_var", "num_batches_tracked")  # a fresh start's
        wrong = [name for name in missing if not name.endswith(statistics)] + unknown
        if wrong:
            raise DataError(f"{wrong[0]} is missing, or is not a tensor of this network.")

    def inputs(self, frames):
        """The stacked frames `[B, T·C, H, W]` and the target `[B, C, H, W]`."""
        numbers = (frames.float() / 127.5 - 1).to(next(self.parameters()).dtype)
        x = torch.cat([numbers[:, offset] for offset in self.sees], dim=-1)
        x = x.permute(0, 3, 1, 2).contiguous(memory_format=self.layout)
        return x, numbers[:, self.target].permute(0, 3, 1, 2)

    def precision(self, device):
        """bfloat16 inside the network where the config says so."""
        if not self.half:
            return contextlib.nullcontext()
        return torch.autocast(device.type, torch.bfloat16)

    def forward(self, frames, items):
        """The frame made, the target, and queries `[B, N, C]` with their matching `[B, N, M]`."""
        x, target = self.inputs(frames)
        with self.precision(x.device):
            features, skips = self.encoder(x)
        features = features.to(x.dtype)
        code = F.normalize(features, dim=1)
        queries = code.permute(0, 2, 3, 1).flatten(1, 2)
        match = None
        if self.with_items:
            match = torch.softmax(queries @ items.T, dim=-1)
            answers = match.detach() @ items
            answers = answers.unflatten(1, code.shape[2:]).permute(0, 3, 1, 2)
            code = torch.cat((code, answers), dim=1)
        with self.precision(x.device):
            output = self.decoder(code, skips)
        return output.to(x.dtype), target, queries, match

    def objective(self, frames, items):
        """The loss of a batch and the items after their update."""
        output, target, queries, match = self(frames, items)
        loss = F.mse_loss(output, target)
        if not self.with_items:
            return loss, items
        nearest, second = match.topk(2, dim=-1).indices.unbind(-1)
        near, far = items[nearest], items[second]  # [B, N, C]
        loss = loss + self.compact * F.mse_loss(queries, near)
        apart = F.triplet_margin_loss(
            queries.flatten(0, 1), near.flatten(0, 1), far.flatten(0, 1), margin=self.margin
        )
        return loss + self.separate * apart, updated(queries.detach().flatten(0, 1), items)

    def parts(self, frames, items):
        """Score parts of a batch, `[B, 2]` (`[B, 1]` without a memory)."""
        output, target, queries, match = self(frames, items)
        error = ((output - target) / 2).square().mean(dim=(1, 2, 3))
        psnr = -10 * torch.log10(error.clamp_min(1e-10))
        if not self.with_items:
            return psnr[:, None]
        distance = (queries - items[match.argmax(dim=-1)]).square().mean(dim=(1, 2))
        return torch.stack((psnr, distance), dim=1)


def updated(queries: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    """Items `[M, C]` after one update with all queries `[N, C]` of a batch.

    Source: MNAD eqs. (3) to (5), as `vad_jax.nets.memory.update`; the published code loops.
    """
    cosine = queries @ items.T
    own = F.one_hot(cosine.argmax(dim=1), len(items)).to(cosine.dtype)
    weight = own * torch.exp(cosine - cosine.amax(dim=0))
    return F.normalize(items + weight.T @ queries, dim=1)


def _items(model, memory):
    if not model.with_items:
        return None
    like = next(model.parameters())
    return torch.tensor(np.asarray(memory), dtype=like.dtype, device=like.device)


def block(inputs: int, features: int, *more: nn.Module, open_end: bool = False) -> nn.Sequential:
    """Two convolutions, each with BatchNorm and ReLU; the numbers are the published names."""
    layers = [
        nn.Conv2d(inputs, features, 3, padding=1),
        nn.BatchNorm2d(features),
        nn.ReLU(inplace=True),
        nn.Conv2d(features, features, 3, padding=1),
    ]
    if not open_end:
        layers += [nn.BatchNorm2d(features), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, *more)


def upsample(inputs: int, features: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, features, 3, stride=2, padding=1, output_padding=1),
        nn.BatchNorm2d(features),
        nn.ReLU(inplace=True),
    )


class Encoder(nn.Module):
    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.moduleConv1 = block(inputs, width)
        self.moduleConv2 = block(width, 2 * width)
        self.moduleConv3 = block(2 * width, 4 * width)
        self.moduleConv4 = block(4 * width, 8 * width, open_end=True)

    def forward(self, x):
        first = self.moduleConv1(x)
        second = self.moduleConv2(F.max_pool2d(first, 2))
        third = self.moduleConv3(F.max_pool2d(second, 2))
        return self.moduleConv4(F.max_pool2d(third, 2)), (first, second, third)


class Decoder(nn.Module):
    def __init__(self, inputs: int, width: int, channels: int, skips: bool):
        super().__init__()
        self.skips = skips
        wide = 1 if skips else 2
        self.moduleConv = block(inputs, 8 * width)
        self.moduleUpsample4 = upsample(8 * width, wide * 4 * width)
        self.moduleDeconv3 = block(8 * width, 4 * width)
        self.moduleUpsample3 = upsample(4 * width, wide * 2 * width)
        self.moduleDeconv2 = block(4 * width, 2 * width)
        self.moduleUpsample2 = upsample(2 * width, wide * width)
        out = nn.Conv2d(width, channels, 3, padding=1)
        self.moduleDeconv1 = block(2 * width, width, out, nn.Tanh())

    def forward(self, x, skips):
        x = self.moduleConv(x)
        for level in (3, 2, 1):
            x = getattr(self, f"moduleUpsample{level + 1}")(x)
            if self.skips:
                x = torch.cat((skips[level - 1], x), dim=1)
            x = getattr(self, f"moduleDeconv{level}")(x)
        return x
