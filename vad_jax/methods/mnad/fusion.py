"""How MNAD's score parts become one number a frame."""

from __future__ import annotations

from vad_jax.types import Fusion


def fusion(config) -> Fusion:
    """`λ (1 - g(PSNR)) + (1 - λ) g(D)`, g = min–max a video in protocol `paper`.

    Source: MNAD eqs. (13) to (15), turned so that higher is stranger.
    """
    weight = config.weights.score
    parts = {"psnr": weight, "distance": 1 - weight} if config.memory["items"] else {"psnr": 1.0}
    results = [("combine", "fused", parts), ("combine", "psnr_only", {"psnr": 1.0})]
    if config.memory["items"]:
        results.append(("combine", "distance_only", {"distance": 1.0}))
    turned = (("assign", "mean"), ("negate", "psnr"))
    return Fusion(
        paper=(*turned, ("minmax", "video"), *results),
        online=(*turned, ("standardise",), *results),
        default="fused",
    )
