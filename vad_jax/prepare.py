"""Checks a raw data set and builds it as records: frames decode, counts are right, labels agree.

    python -m vad_jax.prepare --data=ucsd_ped2 --root=FOLDER --check [--labels=FILE] [--fps=25]
        [--levels=LOW,HIGH]
    python -m vad_jax.prepare --data=ucsd_ped2 --root=FOLDER --out=FOLDER [--size=original|256|64]
        [--on_bad_frame=error|skip]

Prints one table (a line a split where all is right, else a line a video where something is not)
and what is wrong. Exit code 0: all is right; 2: something is wrong, and nothing is built. The raw
folder is only read.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from vad_jax import cli


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit code says whether all is right."""
    command = cli.Command(__doc__)
    command.string(
        "data",
        None,
        "Name of the data set, like ucsd_ped2, avenue or folder.",
        needs="the data set's name",
    )
    command.string("root", None, "Its raw folder, which is only read.", needs="its folder")
    command.string("labels", None, "Label source that is used instead of the one found.")
    command.number("fps", None, "Frames a second, where the data do not say.", least=1e-9)
    command.string("levels", None, "LOW,HIGH of pictures with more than 8 bits: black and white.")
    command.switch("check", "Only look: build nothing.")
    command.string("out", None, "Folder of the built sets, unless --check is given.")
    command.choice("size", "original", ["original", "256", "64"], "Size of the built frames.")
    command.choice(
        "on_bad_frame",
        "error",
        ["error", "skip"],
        "Whether a frame that cannot be read is wrong, or named, counted and left out.",
    )
    command.switch("lossless", "Frames of video files become PNG, not JPEG.")
    return command.run(_prepare, argv)


def _prepare(given: cli.Given) -> cli.Outcome:
    from vad_jax.runs import preparing

    options = given.only(
        "labels", "fps", "levels", "check", "out", "size", "on_bad_frame", "lossless"
    )
    return cli.Outcome(*preparing.prepare(given.data, given.root, **options))


if __name__ == "__main__":
    sys.exit(main())
