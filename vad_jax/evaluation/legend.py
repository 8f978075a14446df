"""What the words of the printed table mean, for someone who sees it for the first time."""

from __future__ import annotations

import re

WORDS = {  # as they stand in the table → what they mean, in the order in which they are met
    "paper": "scores of each video stretched to 0..1 by its own extremes, as most papers do it; "
    "that needs the whole video",
    "online": "scores that use nothing of a video but its past, as at a camera",
    "raw": "frame by frame, as the method gives it",
    "smoothed": "after the method's smoothing over time",
    "AUC": "how often an anomalous frame scores above a normal one; 50 is guessing",
    "micro": "all frames of all videos in one ranking; do not compare it with a macro",
    "macro": "the mean of each video's own AUC",
    "strict": "of the videos alone that have frames of both kinds",
    "padded": "of all videos, each with one frame more at either end, so that a video of one kind "
    "counts as 100; guessing gets more than 50",
    "0/1": "these two frames score exactly 0 and 1",
    "chance": "what guessing gets",
    "equal error rate": "share of false alarms where as many events are missed; lower is better",
    "40 % rule": "a frame is found if 40 % of its anomalous pixels are",
    "RBDC": "regions found, over false boxes a frame",
    "TBDC": "tracks found, over false boxes a frame",
    "interval": "where the figure would lie with other videos of the same kind",
    "control": "a score that needs no learning, such as how much the picture changes",
    "above": "even the lower end of the method's interval is higher than the best control",
    "NOT above": "it is not: by these videos a simple score may do as well",
}


def legend(text: str) -> list[str]:
    """A line for each of these words that a text holds.

    Args:
      text: the table and what is printed below it.

    >>> legend("AUC micro")[-1]
    'micro: all frames of all videos in one ranking; do not compare it with a macro'
    """
    return [
        f"{word}: {said}"
        for word, said in WORDS.items()
        if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text)
    ]
