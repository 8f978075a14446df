"""Published frame AUCs, × 100: what a figure may be held against, and with which caution.

Micro AUC by the published code unless said otherwise, as printed. None carries an interval; most
were chosen on the test set. Source: evaluation.md section 8.
"""

from __future__ import annotations

from typing import NamedTuple


class PrintedFigure(NamedTuple):
    """One figure as it is printed.

    Attributes:
      method: with its year.
      value: micro AUC × 100.
      source: where it is printed.
    """

    method: str
    value: float
    source: str


_SETS = ("ucsd_ped1", "ucsd_ped2", "avenue", "shanghaitech")
_TABLE = (
    ("ConvAE 2016", (75.0, 85.0, 80.0, 60.9), "MPN, table 1"),
    ("StackRNN 2017", (None, 92.2, 81.7, 68.0), "MNAD, table 1"),
    ("Frame-Pred 2018", (83.1, 95.4, 85.1, 72.8), "MPN, table 1"),
    ("MemAE 2019", (None, 94.1, 83.3, 71.2), "MNAD, table 1"),
    ("MemAE without memory", (None, 91.7, 81.0, 69.7), "MNAD, table 1"),
    ("MNAD reconstruction 2020", (None, 90.2, 82.8, 69.8), "MNAD, table 1"),
    ("MNAD reconstruction without memory", (None, 86.4, 80.6, 65.8), "MNAD, table 1"),
    ("MNAD prediction 2020", (None, 97.0, 88.5, 70.5), "MNAD, table 1"),
    ("MNAD prediction without memory", (None, 94.3, 84.5, 66.8), "MNAD, table 1"),
    ("MNAD re-run by others", (None, None, 82.8, None), "SSMCTB, TPAMI 2024"),
    ("MPN 2021", (85.1, 96.9, 89.5, 73.8), "MPN, table 1"),
    ("MPN, autoencoder alone", (83.2, 95.1, 84.0, 66.7), "MPN, table 1"),
    ("HF2-VAD 2021", (None, 99.3, 91.1, 76.2), "authors' readme"),
    ("SSMTL 2021", (None, 97.5, 91.5, 82.4), "authors' readme"),
    ("AI-VAD 2022", (None, 99.1, 93.7, 85.9), "authors' readme"),
    ("SSMTL++ v1 2023", (None, None, 93.7, 82.9), "secondary table"),
    ("SSMTL++ v2 2023", (None, None, 91.6, 83.8), "secondary table"),
)


def published_auc(data: str | None) -> list[PrintedFigure]:
    """What is published for a data set, best first; nothing for a set of one's own.

    Args:
      data: its name, like `ucsd_ped2`.

    >>> published_auc("ucsd_ped2")[0]
    PrintedFigure(method='HF2-VAD 2021', value=99.3, source="authors' readme")
    """
    if data not in _SETS:
        return []
    rows = [
        PrintedFigure(name, values[_SETS.index(data)], source) for name, values, source in _TABLE
    ]
    known = [row for row in rows if row.value is not None]
    return sorted(known, key=lambda row: -row.value)
