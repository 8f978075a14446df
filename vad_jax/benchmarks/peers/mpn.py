"""MPN in PyTorch, with the tensor names of the authors' state dict; `variant="code"` only.

Written to be fast: prototypes are matrix products, where the authors broadcast to `[B, N, M, C]`;
the distances take the products that are there already; and an episode's features, which do not
depend on θ, are computed once and without a graph, where the authors compute them in each pass.

Letters: B rows, E episodes, K support and Q query windows, T frames, N pixels of a map, M
prototypes, C channels. Images are NCHW here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from vad_jax.types import ConfigError, DataError

Mode = Literal["eager", "channels_last", "compile"]
PLUGS = {"1/1": 1, "1/2": 2, "1/4": 3, "1/8": 4}  # → the decoder's first level behind the unit


def train_step(
    config,
    tensors: Mapping[str, np.ndarray],
    memory: None,
    *,
    mode: Mode,
    device: str = "cpu",
) -> Callable[[np.ndarray], torch.Tensor]:
    """A whole training step of the stage `joint`: forward, losses, gradient, Adam.

    Args:
      config: completed; its precision and learning rate are used, the rate stays.
      tensors: parameters by published name, in torch layout; their dtype is kept.
      memory: None, MPN has none.
      mode: how PyTorch runs it.
      device: of PyTorch.

    Returns:
      A function of uint8 frames `[B, T, H, W, channels]` on the host, to the loss before the step;
      parameters and slots move inside from call to call.
    """
    if config.stage_names[0] != "joint":
        raise ConfigError(
            f"stage_names = {config.stage_names}: the PyTorch twin of mpn trains the stage joint. "
            "Give --config.stage_names=joint, or leave --torch out."
        )
    model = Model(config, tensors, mode=mode, device=device)
    optimizer = _adam(model.parameters(), config.stages.joint.learning_rate)
    objective = torch.compile(model.objective) if mode == "compile" else model.objective

    def step(frames: np.ndarray) -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = objective(torch.from_numpy(frames).to(device))
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def meta_step(
    config,
    tensors: Mapping[str, np.ndarray],
    memory: None,
    *,
    mode: Mode,
    device: str = "cpu",
) -> Callable[[np.ndarray], torch.Tensor]:
    """A whole step of the stage `meta`: inner steps, query loss, gradient through both, two Adams.

    Arguments as of `train_step`; step sizes start at `meta.step_size`.

    Returns:
      A function of uint8 frames `[E, K + Q, T, H, W, channels]` on the host, the support windows
      first, to the mean query loss before the step.
    """
    if mode == "compile":
        raise ConfigError("torch.compile takes no second derivatives: eager or channels_last.")
    if config.step_size_map != "identity":
        raise ConfigError(
            "The PyTorch twin of mpn takes step sizes as they are: --config.step_size_map=identity."
        )
    model = Model(config, tensors, mode=mode, device=device)
    theta = model.theta()
    sizes = {
        name: torch.full_like(p, config.meta.step_size, requires_grad=True)
        for name, p in theta.items()
    }
    optimizers = (
        _adam(theta.values(), config.stages.meta.learning_rate),
        _adam(sizes.values(), config.meta.step_size_learning_rate),
    )

    def step(frames: np.ndarray) -> torch.Tensor:
        loss = model.meta_loss(torch.from_numpy(frames).to(device), theta, sizes, config.meta)
        leaves = (*theta.values(), *sizes.values())
        for leaf, gradient in zip(leaves, torch.autograd.grad(loss, leaves), strict=True):
            leaf.grad = gradient
        for optimizer in optimizers:
            optimizer.step()
        return loss.detach()

    return step


def score(
    config,
    tensors: Mapping[str, np.ndarray],
    memory: None,
    *,
    mode: Mode,
    device: str = "cpu",
) -> Callable[[np.ndarray], torch.Tensor]:
    """The network and both parts of the score.

    Arguments as of `train_step`.

    Returns:
      A function of uint8 frames `[B, T, H, W, channels]` to the parts `[B, 2]` in dB: psnr_frame
      and psnr_feature (`[B, 1]` without prototypes).
    """
    model = Model(config, tensors, mode=mode, device=device)
    parts = torch.compile(model.parts) if mode == "compile" else model.parts

    @torch.inference_mode()
    def run(frames: np.ndarray) -> torch.Tensor:
        return parts(torch.from_numpy(frames).to(device))

    return run


def _adam(parameters, rate):
    return torch.optim.Adam(parameters, lr=rate, fused=True)


class Model(nn.Module):
    """The network in two halves that meet at the plug, and what is computed with it.

    A call is the half behind the plug, what depends on θ.
    """

    def __init__(self, config, tensors, *, mode: Mode, device: str = "cpu"):
        super().__init__()
        if config.variant != "code":
            raise ConfigError(
                f"variant = {config.variant!r}: the PyTorch twin of mpn computes what the "
                "published code does. Give --config.variant=code, or leave --torch out."
            )
        self.first = PLUGS[config.plug]
        self.weights = config.weights
        self.temperature = config.temperature.attention, config.temperature.match
        self.half = config.precision == "bfloat16"
        self.layout = torch.contiguous_format if mode == "eager" else torch.channels_last
        width, channels = config.width, config.input.channels
        self.encoder = Encoder(4 * channels, width)
        self.decoder = Decoder(width)
        self.ohead = block(2 * width, width, nn.Conv2d(width, channels, 3, padding=1), nn.Tanh())
        self.prototype = None
        if config.prototypes:
            self.prototype = Attention(min(8, 2**self.first) * width, config.prototypes)
        self._load(tensors)
        self.to(device=device, memory_format=self.layout)

    def _load(self, tensors):
        given = {name: torch.tensor(np.asarray(array)) for name, array in tensors.items()}
        self.to(next(iter(given.values())).dtype)
        missing, unknown = self.load_state_dict(given, strict=False)
        wrong = missing + unknown
        if wrong:
            raise DataError(f"{wrong[0]} is missing, or is not a tensor of this network.")

    def theta(self) -> dict[str, nn.Parameter]:
        """The unit's parameters and all behind it, by name."""
        behind = ["prototype.", "ohead."]
        if self.first == 4:
            behind.append("decoder.moduleConv.")
        for level in range(2, self.first + 1):
            behind.append(f"decoder.moduleUpsample{level}.")
            behind.append(f"decoder.moduleDeconv{level}.")
        return {name: p for name, p in self.named_parameters() if name.startswith(tuple(behind))}

    def precision(self, device):
        """bfloat16 inside the network where the config says so."""
        if not self.half:
            return contextlib.nullcontext()
        return torch.autocast(device.type, torch.bfloat16)

    def features(self, frames):
        """Of frames `[B, T, H, W, C]`: the unit map at the plug, skips that are left, targets."""
        numbers = (frames.float() / 127.5 - 1).to(next(self.parameters()).dtype)
        x = torch.cat([numbers[:, offset] for offset in range(4)], dim=-1)
        x = x.permute(0, 3, 1, 2).contiguous(memory_format=self.layout)
        with self.precision(x.device):
            code, skips = self.encoder(x)
            code = self.decoder(code, skips, range(4, self.first, -1))
        left = tuple(skip.to(x.dtype) for skip in skips[: self.first - 1])
        return F.normalize(code.to(x.dtype), dim=1), left, numbers[:, 4].permute(0, 3, 1, 2)

    def forward(self, maps, skips):
        """The frame, the mean square to the nearest prototype `[B]`, unit prototypes `[B, M, C]`.

        The last two are None without prototypes. Source: MPN eqs. (1) to (3), the published code.
        """
        code, square, made = maps, None, None
        if self.prototype is not None:
            attend, choose = self.temperature
            pixels = maps.permute(0, 2, 3, 1).flatten(1, 2)  # [B, N, C]
            attention = torch.softmax(self.prototype.Mheads(pixels) / attend, dim=1)
            made = F.normalize(attention.transpose(1, 2) @ pixels, dim=-1)
            similarity = pixels @ made.transpose(1, 2)  # [B, N, M]
            match = torch.softmax(similarity / choose, dim=-1)
            rebuilt = F.normalize(match @ made, dim=-1)
            code = maps + rebuilt.unflatten(1, maps.shape[2:]).permute(0, 3, 1, 2)
            best = match.argmax(dim=-1, keepdim=True)
            lengths = made.square().sum(dim=-1)  # [B, M]
            far = lengths.gather(1, best[..., 0]) - 2 * similarity.gather(2, best)[..., 0]
            square = (pixels.square().sum(dim=-1) + far).clamp_min(0)
            square = square.mean(dim=1) / pixels.shape[-1]
        with self.precision(maps.device):
            code = self.decoder(code, skips, range(self.first, 1, -1))
            output = self.ohead(code)
        return output.to(maps.dtype), square, made

    def loss(self, features, behind):
        """The weighted loss; `behind` is the half behind the plug. Source: MPN eqs. (4) to (8)."""
        maps, skips, target = features
        output, square, made = behind(maps, skips)
        loss = self.weights.frame * F.mse_loss(output, target)
        if self.prototype is None:
            return loss
        loss = loss + self.weights.compact * square.mean()
        number = made.shape[1]
        if number > 1:
            i, j = torch.triu_indices(number, number, 1, device=made.device)
            apart = (made[:, i] - made[:, j]).square().sum(dim=-1)
            loss = loss + self.weights.diverse * F.relu(1 - apart).mean()
        return loss

    def objective(self, frames):
        """The loss of a batch."""
        return self.loss(self.features(frames), self)

    def meta_loss(self, frames, theta, sizes, settings):
        """The query loss after steps on the support windows, mean over `[E, K + Q, …]`.

        Source: MPN eqs. (9) to (11).
        """
        losses = [self.episode_loss(windows, theta, sizes, settings) for windows in frames]
        return torch.stack(losses).mean()

    def episode_loss(self, windows, theta, sizes, settings):
        with torch.no_grad():
            maps, skips, target = self.features(windows)
        cut = (settings.support, settings.query)
        maps, target = maps.split(cut), target.split(cut)
        skips = list(zip(*(skip.split(cut) for skip in skips), strict=True)) or [(), ()]
        support, query = zip(maps, skips, target, strict=True)
        moved = theta
        for _ in range(settings.steps):
            loss = self.loss(support, lambda *given, at=moved: functional_call(self, at, given))
            gradients = torch.autograd.grad(
                loss, list(moved.values()), create_graph=settings.order == 2
            )
            moved = {
                name: p - sizes[name] * gradient
                for (name, p), gradient in zip(moved.items(), gradients, strict=True)
            }
        return self.loss(query, lambda *given: functional_call(self, moved, given))

    def parts(self, frames):
        """Score parts of a batch, `[B, 2]` (`[B, 1]` without prototypes)."""
        maps, skips, target = self.features(frames)
        output, square, _ = self(maps, skips)
        error = ((output - target) / 2).square().mean(dim=(1, 2, 3))
        squares = [error] if square is None else [error, square]
        return -10 * torch.log10(torch.stack(squares, dim=1).clamp_min(1e-10))


def block(inputs: int, features: int, *more: nn.Module, open_end: bool = False) -> nn.Sequential:
    """Two convolutions, each with ReLU; the numbers are the published names."""
    layers = [
        nn.Conv2d(inputs, features, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(features, features, 3, padding=1),
    ]
    if not open_end:
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers, *more)


def upsample(inputs: int, features: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, features, 3, stride=2, padding=1, output_padding=1),
        nn.ReLU(inplace=True),
    )


class Attention(nn.Module):
    def __init__(self, channels: int, prototypes: int):
        super().__init__()
        self.Mheads = nn.Linear(channels, prototypes, bias=False)


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
    """All of the way up but the last level, which is the network's `ohead`."""

    def __init__(self, width: int):
        super().__init__()
        self.moduleConv = block(8 * width, 8 * width)
        self.moduleUpsample4 = upsample(8 * width, 4 * width)
        self.moduleDeconv3 = block(8 * width, 4 * width)
        self.moduleUpsample3 = upsample(4 * width, 2 * width)
        self.moduleDeconv2 = block(4 * width, 2 * width)
        self.moduleUpsample2 = upsample(2 * width, width)

    def forward(self, x, skips, levels):
        """Blocks of some levels, each with the way up behind it and its skip."""
        for level in levels:
            x = (self.moduleConv if level == 4 else getattr(self, f"moduleDeconv{level}"))(x)
            x = getattr(self, f"moduleUpsample{level}")(x)
            x = torch.cat((skips[level - 2], x), dim=1)
        return x
