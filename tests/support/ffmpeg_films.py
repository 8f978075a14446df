"""Films of every container and codec that the ffmpeg of `imageio-ffmpeg` writes, and its reading.

`FILMS` is the table: a name, whose suffix is the container, and what ffmpeg is told. `write` makes
them, `ffmpeg_reads` gives what ffmpeg itself makes of one.
"""

import re
import subprocess

import cv2
import numpy as np


def moving(size="160x120", rate="25", seconds=2):
    """ffmpeg's arguments for a moving test picture."""
    return ["-f", "lavfi", "-i", f"testsrc2=s={size}:r={rate}:d={seconds}"]


def _tone(seconds=2):
    return ["-f", "lavfi", "-i", f"sine=d={seconds}"]


H264 = ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "25", "-pix_fmt", "yuv420p"]
H265 = ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none"]
AV1 = ["-c:v", "libsvtav1", "-preset", "12"]
VP8 = ["-c:v", "libvpx", "-deadline", "realtime"]
VP9 = ["-c:v", "libvpx-vp9", "-deadline", "realtime"]
SHORT = ["-t", "0.4"]
FIELDS = ["-vf", "tinterlace=interleave_top", "-r", "25", "-flags", "+ilme+ildct"]
SLOW_THEN_FAST = [  # 20 frames at 5 a second, then 30 a second
    *("-vf", "settb=1/600,setpts='if(lt(N,20),N/5,4+(N-20)/30)/TB'"),
    *("-fps_mode", "passthrough", "-enc_time_base", "1:600"),
]
SOUND_FIRST = ["-map", "0:a", "-map", "1:v", *H264]


def _coded(codec, *more):
    return ["-c:v", codec, *more]


FILMS = {
    **{f"h264.{kind}": H264 for kind in ("mp4", "mov", "m4v", "mkv", "ts", "m2ts", "mts", "flv")},
    **{f"h264.{kind}": H264 for kind in ("avi", "3gp", "3g2", "f4v", "h264")},
    **{f"h265.{kind}": H265 for kind in ("mp4", "mkv", "ts", "hevc")},
    **{f"av1.{kind}": AV1 for kind in ("mp4", "webm", "mkv", "ivf")},
    **{f"vp9.{kind}": VP9 for kind in ("webm", "mp4", "ivf")},
    "vp8.webm": VP8,
    **{f"mpeg4.{kind}": _coded("mpeg4", "-bf", "2") for kind in ("mp4", "avi")},
    "xvid.avi": _coded("libxvid", "-bf", "2"),
    **{f"mjpeg.{kind}": _coded("mjpeg") for kind in ("avi", "mov", "mkv")},
    "mpeg1.mpg": _coded("mpeg1video", "-bf", "2"),
    **{f"mpeg2.{kind}": _coded("mpeg2video", "-bf", "2") for kind in ("mpg", "ts", "m2v", "mxf")},
    "mpeg2.vob": _coded("mpeg2video"),
    "wmv1.wmv": _coded("wmv1"),
    "wmv2.wmv": _coded("wmv2"),
    "msmpeg4.asf": _coded("msmpeg4"),
    "msmpeg4v2.avi": _coded("msmpeg4v2"),
    "flv1.flv": _coded("flv"),
    "h263.3gp": _coded("h263", "-s", "176x144"),
    "theora.ogv": _coded("libtheora"),
    "prores.mov": _coded("prores_ks"),
    "dnxhr.mov": _coded("dnxhd", "-profile:v", "dnxhr_sq", "-s", "256x144"),
    "ffv1.mkv": _coded("ffv1"),
    "huffyuv.avi": _coded("huffyuv"),
    "utvideo.avi": _coded("utvideo"),
    "raw.avi": _coded("rawvideo", "-pix_fmt", "yuv420p", *SHORT),
    "raw_bgr.avi": _coded("rawvideo", "-pix_fmt", "bgr24", *SHORT),
    "png.mov": _coded("png", *SHORT),
    "animation.mov": _coded("qtrle", *SHORT),
    "cinepak.mov": _coded("cinepak", *SHORT),
    "sorenson.mov": _coded("svq1"),
    "dv.avi": _coded("dvvideo", "-s", "720x576", *SHORT),
    "dv.dv": _coded("dvvideo", "-s", "720x576", *SHORT),
    "dv_ntsc.mov": _coded(
        "dvvideo", *["-s", "720x480", "-r", "30000/1001", "-pix_fmt", "yuv411p"], *SHORT
    ),
    "10_bits.mp4": _coded("libx264", "-pix_fmt", "yuv420p10le"),
    "10_bits.mkv": [*H265, "-pix_fmt", "yuv420p10le"],
    "10_bits.webm": [*VP9, "-pix_fmt", "yuv420p10le"],
    "422.mkv": _coded("libx264", "-pix_fmt", "yuv422p"),
    "444.mp4": _coded("libx264", "-pix_fmt", "yuv444p"),
    "rgb.mkv": _coded("libx264rgb", "-pix_fmt", "bgr24"),
    "full_range.mp4": _coded("libx264", "-pix_fmt", "yuvj420p"),
    "bt709.mp4": [
        *("-vf", "scale=out_color_matrix=bt709", *H264),
        *("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"),
    ],
    "grey.mkv": _coded("ffv1", "-pix_fmt", "gray"),
    "grey.mp4": _coded("libx264", "-pix_fmt", "gray"),
    "transparent.webm": [*VP9, "-pix_fmt", "yuva420p"],
    "transparent.mov": _coded("prores_ks", "-profile:v", "4", "-pix_fmt", "yuva444p10le"),
    "odd_size.mkv": _coded("ffv1", "-s", "161x121"),
    "cropped.mp4": [*H264, "-s", "166x122"],
    "wide_pixels.mp4": [*H264, "-vf", "setsar=2"],
    "interlaced.mpg": [*moving(rate="50"), *FIELDS, *_coded("mpeg2video", "-b:v", "1M")],
    "interlaced.ts": [*moving("160x128", "50"), *FIELDS, *_coded("mpeg2video")],
    "interlaced.mp4": [*moving("160x128", "50"), *FIELDS, *H264],
    "variable.mp4": [*moving(seconds=5.6), *SLOW_THEN_FAST, *H264],
    "variable.mkv": [*moving(seconds=5.6), *SLOW_THEN_FAST, *H264],
    "variable.webm": [*moving(seconds=5.6), *SLOW_THEN_FAST, *VP8],
    **{f"begins_late.{kind}": [*H264, "-output_ts_offset", "3"] for kind in ("mp4", "mkv", "ts")},
    **{f"sound_first.{k}": [*_tone(), *moving(), *SOUND_FIRST] for k in ("mp4", "mkv", "ts")},
    **{f"sound_longer.{k}": [*_tone(5), *moving(), *SOUND_FIRST] for k in ("mp4", "mkv")},
    "pictures_late.mkv": [*_tone(), "-itsoffset", "0.5", *moving(), *SOUND_FIRST],
    "two_streams.mkv": [  # of two streams that marked as the default
        *moving("80x60", "10"), *moving(), *("-map", "0:v", "-map", "1:v"), *H264,
    ],
    "two_streams.mp4": [
        *moving(), *moving("80x60", "10"), *("-map", "0:v", "-map", "1:v"), *H264,
    ],
    "one_frame.mp4": [*H264, "-frames:v", "1"],
    "fragmented.mp4": [*H264, "-movflags", "+frag_keyframe+empty_moov"],
    "live.webm": [*VP8, "-live", "1"],
    "ntsc.mp4": [*moving(rate="30000/1001"), *H264],
    "open_gop.mkv": _coded("libx264", "-x264-params", "open-gop=1:keyint=10:bframes=3"),
    "time_lapse.mp4": [*moving(rate="1/10", seconds=200), *H264],
}  # fmt: skip

COPIES = {  # made of others without coding: (before the input, input, behind it)
    **{f"edit_list.{k}": ("-ss 1.5", "ntsc.mp4", "") for k in ("mp4", "mov", "mkv")},
    **{f"edit_end.{k}": ("", "ntsc.mp4", "-t 1.2") for k in ("mp4", "mov")},
    **{f"turned_{a}.mp4": (f"-display_rotation {a}", "h264.mp4", "") for a in (90, 180, 270)},
    "turned_90.mkv": ("-display_rotation 90", "h264.mkv", ""),
    "mirrored.mp4": ("-display_hflip", "h264.mp4", ""),
    "upside_down.mp4": ("-display_vflip", "h264.mp4", ""),
    "turned_mirrored.mp4": ("-display_rotation 90 -display_hflip", "h264.mp4", ""),
}

SMALL = {  # for quick tests, kept in tests/data/films with what ffmpeg makes of them
    "interlaced.mpg": [*moving("64x64", "50", 0.4), *FIELDS, *_coded("mpeg2video")],
    "variable.mkv": [
        *moving("32x32", seconds=1), *SLOW_THEN_FAST, "-frames:v", "24", *H264,
    ],
    "whole.mkv": [*moving("48x48", seconds=2.4), *H264],
    "sound_first.mp4": [
        *_tone(0.4), *moving("48x48", seconds=0.4), "-b:a", "16k", *SOUND_FIRST,
    ],
    "av1.mp4": [*moving("64x64", seconds=0.4), *AV1],
    "no_decoder.ts": [*moving("64x64", seconds=0.2), *_coded("libxavs2", "-pix_fmt", "yuv420p")],
    "10_bits.mp4": [*moving("48x48", seconds=0.2), *_coded("libx264", "-pix_fmt", "yuv420p10le")],
    "12_bits_grey.mkv": [*moving("32x32", seconds=0.2), *_coded("ffv1", "-pix_fmt", "gray12le")],
    "before_edit.mp4": [*moving("48x48", seconds=1), *H264],
    "small.ts": [*moving("48x48", seconds=0.2), *H264],
    "smaller.ts": [*moving("32x32", seconds=0.2), *H264],
}  # fmt: skip

LONG = {  # of these half is cut off, and of others 4,000 bytes at 45 % become zero
    "fast_start.mp4": [*H264, "-movflags", "+faststart"],
    "fast_start.mov": [*_coded("mjpeg"), "-movflags", "+faststart"],
    "h265.mp4": [*H265, "-movflags", "+faststart"],
    "h265.mkv": H265,
    "h264.mkv": H264,
    "h264.ts": H264,
    "h264.flv": H264,
    "vp8.webm": VP8,
    "av1.webm": AV1,
    "live.mkv": [*H264, "-live", "1"],
    "fragments.mp4": [*H264, "-movflags", "+frag_keyframe+empty_moov"],
    "mpeg4.avi": _coded("mpeg4"),
    "mjpeg.avi": _coded("mjpeg"),
    "mpeg2.mpg": _coded("mpeg2video"),
    "wmv2.wmv": _coded("wmv2"),
}
CUT = {f"cut_{name}": name for name in LONG}
HOLED = {f"holed_{name}": name for name in LONG}

# What ffmpeg's scaler must be told to convert colours as the library does by itself: the two
# fields of interlaced frames each for itself, and colours between the pixels where the film says.
BY_FIELDS, TO_THE_LEFT = "scale=interl=-1", "scale=in_chroma_loc=left"
FILTERS = {
    **dict.fromkeys(("interlaced.mpg", "interlaced.ts", "interlaced.mp4"), BY_FIELDS),
    **dict.fromkeys(("dv.avi", "dv.dv"), BY_FIELDS),
    "dv_ntsc.mov": "scale=interl=-1:in_chroma_loc=topleft",
    **dict.fromkeys(("10_bits.mp4", "10_bits.mkv"), TO_THE_LEFT),
}


def write(ffmpeg, folder, name):
    """Writes one film of the tables into the folder, and those that it is made of."""
    path = folder / name
    if path.exists():
        return path
    if name in CUT or name in HOLED:
        whole = _long(ffmpeg, folder, CUT.get(name) or HOLED[name]).read_bytes()
        if name in CUT:
            path.write_bytes(whole[: len(whole) // 2])
        else:
            at = len(whole) * 45 // 100
            path.write_bytes(whole[:at] + bytes(4000) + whole[at + 4000 :])
    elif name in COPIES:
        before, other, behind = COPIES[name]
        copied = write(ffmpeg, folder, other)
        _run(ffmpeg, *before.split(), "-i", copied, *behind.split(), "-c", "copy", path)
    else:
        arguments = FILMS[name]
        coming = [] if "-i" in arguments else moving()
        _run(ffmpeg, *coming, *arguments, "-threads", "1", path)
    return path


def _long(ffmpeg, folder, name):
    path = folder / f"long_{name}"
    if not path.exists():
        _run(ffmpeg, *moving(seconds=8), *LONG[name], "-threads", "1", path)
    return path


def _run(ffmpeg, *arguments):
    subprocess.run([ffmpeg, "-v", "error", "-y", *map(str, arguments)], check=True)


def ffmpeg_reads(ffmpeg, path, *, scaler=None):
    """Times of all frames in seconds `[F]`, and their pixels BGR `[F, H, W, 3]`, by ffmpeg."""
    filters = ",".join(filter(None, ("showinfo", scaler)))
    command = [ffmpeg, "-hide_banner", "-nostats", "-threads", "1", "-i", path, "-an", "-sn"]
    command += ["-fps_mode", "passthrough", "-vf", filters, "-f", "rawvideo", "-pix_fmt", "bgr24"]
    done = subprocess.run([*command, "-"], capture_output=True)
    said = done.stderr.decode(errors="replace")
    found = re.findall(r"\] n: *\d+ pts: *\S+ pts_time:(\S+) .*? s:(\d+)x(\d+) ", said)
    if not found:
        return np.empty(0), np.empty((0, 0, 0, 3), np.uint8)
    (width, height) = map(int, found[0][1:])
    pixels = np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3)
    return np.array([float(time) for time, *_ in found]), pixels


def write_small(ffmpeg, folder):
    """Writes the films of `SMALL` and those made of them, and `ffmpeg.npz`: how ffmpeg reads them.

    That holds `NAME/times` in seconds, and `NAME/small`, the frames as BGR of 8 x 8.
    """
    for name, arguments in SMALL.items():
        _run(ffmpeg, *arguments, "-threads", "1", folder / name)
    whole = folder / "before_edit.mp4"
    _run(ffmpeg, "-ss", "0.5", "-i", whole, "-c", "copy", folder / "edit_list.mp4")
    turn = ["-display_rotation", "90", "-display_hflip"]
    _run(ffmpeg, *turn, "-i", whole, "-t", "0.2", "-c", "copy", folder / "turned_mirrored.mp4")
    parts = [folder / "small.ts", folder / "smaller.ts"]
    (folder / "two_sizes.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    for path in (whole, *parts):
        path.unlink()
    kept = {}
    for path in sorted(folder.iterdir()):
        if path.suffix == ".npz" or path.name in ("no_decoder.ts", "two_sizes.ts"):
            continue
        times, frames = ffmpeg_reads(ffmpeg, path, scaler=FILTERS.get(path.name))
        kept[f"{path.name}/times"] = times
        kept[f"{path.name}/small"] = np.stack(
            [cv2.resize(frame, (8, 8), interpolation=cv2.INTER_AREA) for frame in frames]
        )
    np.savez_compressed(folder / "ffmpeg.npz", **kept)
