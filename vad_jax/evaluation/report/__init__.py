"""The report: one self-contained page, made from a workdir's files alone.

Source: evaluation.md section 10.
"""

from vad_jax.evaluation.report.page import render

__all__ = ["render"]
