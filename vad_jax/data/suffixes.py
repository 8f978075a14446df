"""Which files are pictures and which are films, by their suffixes: the one list of each."""

from __future__ import annotations

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})
# Each is a container of `data/film.py`, FORMATS.
VIDEOS = frozenset(
    {
        *(".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".f4v"),
        *(".mkv", ".webm", ".avi", ".divx", ".flv", ".wmv", ".asf", ".ogv", ".mxf", ".dv"),
        *(".ts", ".m2ts", ".mts", ".mpg", ".mpeg", ".mpe", ".m2p", ".vob"),
        *(".m1v", ".m2v", ".h264", ".264", ".h265", ".265", ".hevc", ".ivf"),
    }
)
