"""How good the scores are: labels, fusion, metrics, intervals, controls, files, report.

NumPy only; of the house it knows `vad_jax.types` and `vad_jax.atomic` alone. Scores are float64,
higher = stranger, NaN = no score; `labels` and `scores` are lists of arrays, one a video.
Definitions stand where the functions do.
"""

from vad_jax.evaluation.bootstrap import Interval, bootstrap, paired_bootstrap
from vad_jax.evaluation.calibration import (
    BlockMaxima,
    Calibration,
    Footage,
    HeldOut,
    block_maxima,
    calibrate,
    footage_needed,
    held_out,
    lowest_rate,
)
from vad_jax.evaluation.certainty import FEWEST
from vad_jax.evaluation.compare_runs import Table, comparison, comparison_tables, markdown
from vad_jax.evaluation.components import boxes_at, boxes_from_map, tracks_from_masks
from vad_jax.evaluation.controls import (
    all_controls,
    best_control,
    control_table,
    controls,
    index_controls,
)
from vad_jax.evaluation.differences import difference
from vad_jax.evaluation.events import Events, events
from vad_jax.evaluation.external_scores import read_external, read_normal
from vad_jax.evaluation.few_shot import few_shot_figures, few_shot_table
from vad_jax.evaluation.fusion import frame_parts, fuse, mentioned, results
from vad_jax.evaluation.fusion_check import check
from vad_jax.evaluation.incremental import Fuser
from vad_jax.evaluation.localisation import Mapped, absent, localisation
from vad_jax.evaluation.metrics import (
    Macro,
    auc_macro,
    auc_macro_padded,
    auc_macro_padded01,
    auc_micro,
    average_precision,
    equal_error_rate,
    per_video_auc,
)
from vad_jax.evaluation.pixel_controls import MeanFrame, PixelControls, mean_of
from vad_jax.evaluation.pixels import pixel_auc, pixel_auc_40
from vad_jax.evaluation.printed_figures import PrintedFigure, published_auc
from vad_jax.evaluation.regions import RegionCriteria, region_criteria, region_draws
from vad_jax.evaluation.report import render, render_comparison
from vad_jax.evaluation.score_files import (
    Scored,
    read_controls,
    read_metrics,
    read_scores,
    write_controls,
    write_metrics,
    write_scores,
)
from vad_jax.evaluation.series import backwards, minmax, smooth
from vad_jax.evaluation.summary import summarise
from vad_jax.evaluation.tables import mark, table
from vad_jax.evaluation.thresholds import Normal, alarms_at, threshold_of
from vad_jax.evaluation.truth.labels import Labels, read_labels
from vad_jax.evaluation.truth.masks import mask_place, read_masks

__all__ = [
    "FEWEST",
    "BlockMaxima",
    "Calibration",
    "Events",
    "Footage",
    "Fuser",
    "HeldOut",
    "Interval",
    "Labels",
    "Macro",
    "Mapped",
    "MeanFrame",
    "Normal",
    "PixelControls",
    "PrintedFigure",
    "RegionCriteria",
    "Scored",
    "Table",
    "absent",
    "alarms_at",
    "all_controls",
    "auc_macro",
    "auc_macro_padded",
    "auc_macro_padded01",
    "auc_micro",
    "average_precision",
    "backwards",
    "best_control",
    "block_maxima",
    "bootstrap",
    "boxes_at",
    "boxes_from_map",
    "calibrate",
    "check",
    "comparison",
    "comparison_tables",
    "control_table",
    "controls",
    "difference",
    "equal_error_rate",
    "events",
    "few_shot_figures",
    "few_shot_table",
    "footage_needed",
    "frame_parts",
    "fuse",
    "held_out",
    "index_controls",
    "localisation",
    "lowest_rate",
    "mark",
    "markdown",
    "mask_place",
    "mean_of",
    "mentioned",
    "minmax",
    "paired_bootstrap",
    "per_video_auc",
    "pixel_auc",
    "pixel_auc_40",
    "published_auc",
    "read_controls",
    "read_external",
    "read_labels",
    "read_masks",
    "read_metrics",
    "read_normal",
    "read_scores",
    "region_criteria",
    "region_draws",
    "render",
    "render_comparison",
    "results",
    "smooth",
    "summarise",
    "table",
    "threshold_of",
    "tracks_from_masks",
    "write_controls",
    "write_metrics",
    "write_scores",
]
