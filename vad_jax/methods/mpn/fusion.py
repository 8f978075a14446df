"""How MPN's score parts become one number a frame."""

from __future__ import annotations

import math

from vad_jax.types import Fusion

_TAPS = tuple(math.exp(-((i - 7) ** 2) / 8) / (2 * math.sqrt(2 * math.pi)) for i in range(15))


def fusion(config) -> Fusion:
    """The parts of frame and feature map, together and apart.

    `code`: both as PSNR, min–max a video, weighted, smoothed by a Gaussian of 15 frames that looks
    seven ahead. `paper`: the plain sum. Source: MPN eq. (12), the published script; turned so that
    higher is stranger.
    """
    code = config.variant == "code"
    kind = "psnr" if code else "error"
    frame, feature = f"{kind}_frame", f"{kind}_feature"
    weight = config.weights.score
    share = {frame: weight, feature: 1 - weight} if code else {frame: 1.0, feature: weight}
    parts = (frame, feature) if config.prototypes else (frame,)
    if not config.prototypes:
        share = {frame: 1.0}
    results = [("combine", "fused", share)]
    if config.prototypes:
        results += [("combine", "frame_only", {frame: 1.0})]
        results += [("combine", "feature_only", {feature: 1.0})]
    turned = [("negate", part) for part in parts] if code else []
    scaled = [("minmax", "video")] if code else []
    smoothed = [("smooth", _TAPS, "nearest", False)] if code else []
    assigned = ("assign", "mean")
    return Fusion(
        paper=(assigned, *turned, *scaled, *results, *smoothed),
        online=(assigned, *turned, ("standardise",), *results),
        default="fused",
    )
