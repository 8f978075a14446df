"""Batch normalisation over the rows of a batch that count."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp


class BatchNorm(nn.Module):
    """PyTorch's BatchNorm for padded batches: a row with mask 0 enters no statistic.

    Normalises by the biased variance and keeps the unbiased one (factor n/(n-1)) as running
    variance; `running = momentum * running + (1 - momentum) * batch`. Under a mesh the sums run
    over the whole batch. Statistics are computed in at least float32.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x, mask, *, train: bool):
        """Normalises `x` `[B, H, W, C]` with `mask` bool `[B]`; the dtype stays."""
        channels = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, channels, scale.dtype)
        running_var = self.variable("batch_stats", "var", jnp.ones, channels, scale.dtype)
        values = x.astype(scale.dtype)
        if train:
            # First over each image, then over those that count: no pass over x for the mask.
            images = jnp.sum(mask)
            n = images.astype(scale.dtype) * (x.shape[1] * x.shape[2])

            def over_rows(per_image):
                kept = jnp.where(mask[:, None], per_image, 0)
                return jnp.sum(kept, axis=0) / jnp.maximum(images, 1).astype(scale.dtype)

            mean = over_rows(jnp.mean(values, axis=(1, 2)))
            centred = values - mean[None, None, None]
            var = over_rows(jnp.mean(jnp.square(centred), axis=(1, 2)))
            if not self.is_initializing():
                keep = jnp.where(images > 0, self.momentum, 1.0).astype(scale.dtype)
                unbiased = var * n / jnp.maximum(n - 1, 1)
                running_mean.value = keep * running_mean.value + (1 - keep) * mean
                running_var.value = keep * running_var.value + (1 - keep) * unbiased
        else:
            mean, var = running_mean.value, running_var.value
        factor = scale / jnp.sqrt(var + self.epsilon)
        shifted = (values - mean[None, None, None]) * factor[None, None, None]
        return (shifted + bias[None, None, None]).astype(x.dtype)
