"""The report: self-contained pages, made from the files of workdirs alone.

Source: evaluation.md section 10.
"""

from vad_jax.evaluation.report.page import render, render_comparison

__all__ = ["render", "render_comparison"]
