"""How often intervals hold the truth, and how often equal methods are called different.

    python -m vad_jax.benchmarks.certainty [--trials=2000] [--picture=docs/pictures/certainty.png]
        [--json]

Test sets are drawn of which the truth is known: videos of 30 to 400 frames, an event in most, one
in five of one class, scores that hang together in time and differ from video to video. Each is
judged by both intervals (`percentile`, as earlier versions had it, and `jackknife`), and by both
tests on two methods that are equal. Takes ten minutes on two cores.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from vad_jax import cli, evaluation

METHODS = ("percentile", "jackknife")
VIDEOS = (6, 8, 12, 25)  # of the intervals
AUCS = (0.7, 0.9, 0.97)
EQUAL = (1, 2, 3, 5, 6, 7, 8, 12, 20)  # videos of the tests
REPLICATES = 1000
SHIFT = 0.5  # deviation of a video's mean score, in deviations of its frames' noise
UNLIKE = 0.3  # deviation of an event's strength from video to video, relative
MEMORY = 0.9  # correlation of a frame's noise with that of the one before
ONE_CLASS = 0.2  # share of videos of one class; three of five of them anomalous throughout
COLUMNS = {"videos": "d", "auc": ".2f"} | dict.fromkeys(METHODS, ".3f")
TESTED = {"videos": "d"} | dict.fromkeys(METHODS, ".3f")


class TestSet(NamedTuple):
    """Labels `[F]` a video, and the scores of two methods that are equally good."""

    labels: list[np.ndarray]
    scores: list[np.ndarray]
    others: list[np.ndarray]


def truth(strength: float) -> float:
    """The AUC of ever more videos whose events stand out by `strength`, times a factor that is
    normal about 1 and not below 0; pairs of frames of one video no longer count then."""
    from scipy import special

    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    factor = np.maximum(1 + UNLIKE * nodes, 0)
    apart = special.ndtr(strength * factor / np.sqrt(2 * (1 + SHIFT**2)))
    return float(weights @ apart / weights.sum())


def strength_of(auc: float) -> float:
    """The strength whose `truth` is an AUC."""
    from scipy import optimize

    return optimize.brentq(lambda strength: truth(strength) - auc, 0, 40)


def drawn(random: np.random.Generator, videos: int, strength: float) -> TestSet:
    """A test set with as many videos of each class as intervals need, where it has so many."""
    least = min(videos, evaluation.FEWEST)
    while True:
        labels = [_labels(random) for _ in range(videos)]
        anomalous, normal = (sum((own == label).any() for own in labels) for label in (1, 0))
        if min(anomalous, normal) >= least:
            return TestSet(labels, *(_scores(random, labels, strength) for _ in range(2)))


def _labels(random):
    length = int(np.clip(random.lognormal(4.8, 0.6), 30, 400))
    chance = random.random()
    if chance < ONE_CLASS:
        return np.full(length, chance < 0.6 * ONE_CLASS, np.int8)
    event = int(length * random.uniform(0.1, 0.6))
    start = random.integers(0, length - event + 1)
    return np.isin(np.arange(length), np.arange(start, start + event)).astype(np.int8)


def _scores(random, labels, strength):
    from scipy import signal

    scores = []
    for own in labels:
        noise = random.normal(size=len(own))
        noise[1:] *= np.sqrt(1 - MEMORY**2)
        noise = signal.lfilter([1], [1, -MEMORY], noise)
        event = strength * max(0.0, 1 + UNLIKE * random.normal())
        scores.append(noise + SHIFT * random.normal() + event * own)
    return scores


def coverage(
    trials: int, *, videos: Sequence[int] = VIDEOS, aucs: Sequence[float] = AUCS
) -> Iterator[dict[str, Any]]:
    """Rows of `videos`, `auc`, and the share of trials in which each interval holds that AUC."""
    for number in videos:
        for auc in aucs:
            random, strength = np.random.default_rng([number, round(100 * auc)]), strength_of(auc)
            held = dict.fromkeys(METHODS, 0)
            for _ in range(trials):
                found = drawn(random, number, strength)
                for method in METHODS:
                    interval = evaluation.bootstrap(
                        found.labels,
                        found.scores,
                        evaluation.auc_micro,
                        replicates=REPLICATES,
                        method=method,
                    )
                    held[method] += interval.low <= auc <= interval.high
            yield {"videos": number, "auc": auc} | {m: held[m] / trials for m in METHODS}


def called_different(
    trials: int, *, videos: Sequence[int] = EQUAL, auc: float = 0.9
) -> Iterator[dict[str, Any]]:
    """Rows of `videos`, and the share of trials in which each test finds p < 0.05 between two
    methods that are equal; None where it gives no p."""
    strength = strength_of(auc)
    for number in videos:
        random = np.random.default_rng([number])
        found = [drawn(random, number, strength) for _ in range(trials)]
        row: dict[str, Any] = {"videos": number}
        for method in METHODS:
            p = [
                evaluation.paired_bootstrap(
                    *each, evaluation.auc_micro, replicates=REPLICATES, method=method
                ).p
                for each in found
            ]
            row[method] = None if None in p else sum(own < 0.05 for own in p) / trials
        yield row


def draw(path: str, covered: Sequence[dict[str, Any]], tested: Sequence[dict[str, Any]]) -> None:
    """The picture of both, before and after."""
    from matplotlib.figure import Figure

    colours = {"percentile": "#b5651d", "jackknife": "#2a6f97"}
    figure = Figure(figsize=(9.6, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.35, 1))
    places = np.arange(len(covered))
    left.axhspan(0.92, 0.98, color="#2d7a4f", alpha=0.12, linewidth=0)
    left.axhline(0.95, color="#2d7a4f", linewidth=1)
    for method in METHODS:
        shares = [row[method] for row in covered]
        left.plot(places, shares, "o", color=colours[method], label=method, markersize=6)
    names = [f"{100 * row['auc']:.0f}\n{row['videos']}" for row in covered]
    left.set_xticks(places, names)
    left.set_xlabel("true AUC × 100, and below it the number of videos")
    left.set_ylabel("share of 95 % intervals that hold it")
    left.set_title("Coverage (band: 0.92 to 0.98)", fontsize=10)
    right.axhline(0.05, color="#2d7a4f", linewidth=1)
    places = np.arange(len(tested))
    for shift, method in zip((-0.2, 0.2), METHODS, strict=True):
        shares = [row[method] or 0 for row in tested]
        right.bar(places + shift, shares, 0.38, color=colours[method], label=method)
        for place, row in zip(places, tested, strict=True):
            if row[method] is None:
                right.text(place + shift, 0.015, "no p", rotation=90, ha="center", fontsize=7)
    right.set_xticks(places, [str(row["videos"]) for row in tested])
    right.set_xlabel("videos")
    right.set_ylabel("share of trials with p < 0.05")
    right.set_title("Two equal methods called different (line: 0.05)", fontsize=10)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    left.legend(loc="lower right", fontsize=8, frameon=False)
    figure.savefig(path, dpi=120)


def _benchmark(given: cli.Given) -> cli.Outcome:
    """Simulates, prints both tables, draws the picture."""
    from tqdm import tqdm

    from vad_jax.benchmarks import timing

    rows = len(VIDEOS) * len(AUCS)
    covered = list(tqdm(coverage(given.trials), total=rows, desc="coverage", disable=None))
    tested = list(tqdm(called_different(given.trials), total=len(EQUAL), desc="p", disable=None))
    print(f"Share of 95 % intervals that hold the true AUC; {given.trials} test sets a row")
    print(timing.table(covered, COLUMNS))
    print("Share of pairs of equal methods with p < 0.05; AUC 0.9")
    print(timing.table(tested, TESTED))
    if given.picture:
        draw(given.picture, covered, tested)
    return cli.Outcome({"benchmark": "certainty", "coverage": covered, "equal": tested})


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    command = cli.Command(__doc__)
    command.integer("trials", 2000, "Test sets of each row.", least=1)
    command.string("picture", None, "File of a picture of both tables.")
    return command.run(_benchmark, argv)


if __name__ == "__main__":
    sys.exit(main())
