"""Video files as the field meets them, made from what OpenCV or FFmpeg's libraries write."""

import struct
from fractions import Fraction

import av
import cv2
import numpy as np

CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl")


def write(path, *, frames=12, size=(32, 48), fps=10.0, code=None, pixels=None):
    """A film of a brightening ground with a white square that wanders; returns its path."""
    height, width = size
    code = code or ("mp4v" if path.suffix == ".mp4" else "MJPG")
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), fps, (width, height))
    assert writer.isOpened()
    for number in range(frames):
        frame = np.full((height, width, 3), 40 + 5 * number % 150, np.uint8)
        frame[4:12, 2 * number % (width - 8) :][:, :8] = 255
        writer.write(frame if pixels is None else pixels[number])
    writer.release()
    return path


def coded(path, *, times, codec="mpeg4", kind="yuv420p", size=(32, 48)):
    """A film of a brightening ground whose frames have these times, milliseconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width, stream.pix_fmt = *size, kind
        stream.time_base = stream.codec_context.time_base = Fraction(1, 10)
        for number, time in enumerate(times):
            pixels = np.full((*size, 3), 20 + 3 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="bgr24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def with_times(path, deltas):
    """The mp4 with the given duration of each frame, in its own time units: a variable rate."""
    entries = struct.pack(">II", 0, len(deltas))
    entries += b"".join(struct.pack(">II", 1, delta) for delta in deltas)
    path.write_bytes(_replaced(path.read_bytes(), b"stts", lambda _: entries))


def turned(path):
    """The mp4 with a quarter turn in its header, as phones write it."""

    def matrix(body):
        turn = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
        return body[:40] + turn + body[76:]

    path.write_bytes(_replaced(path.read_bytes(), b"tkhd", matrix))


def units_a_second(path):
    """Time units of the mp4's track."""
    data = path.read_bytes()
    at = data.index(b"mdhd")
    return struct.unpack_from(">I", data, at + 16)[0]


def _replaced(data, name, change):
    """The boxes of an mp4 with one changed; every box around it gets its new length."""
    out, at = b"", 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 16 if size == 1 else 8
        size = struct.unpack_from(">Q", data, at + 8)[0] if size == 1 else size or len(data) - at
        body = data[at + head : at + size]
        if kind in CONTAINERS or kind == name:
            body = change(body) if kind == name else _replaced(body, name, change)
            out += struct.pack(">I4s", len(body) + 8, kind) + body
        else:
            out += data[at : at + size]
        at += size
    return out


def of_two_sizes(path, *, frames=10, change=6):
    """A motion-JPEG film whose pictures have another size from frame `change` on."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (frames, 48, 64, 3)).astype(np.uint8)
    write(path, frames=frames, size=(48, 64), code="MJPG", pixels=noise)
    data = bytearray(path.read_bytes())
    at = data.index(b"movi")
    for number in range(frames):
        at = data.index(b"00dc", at)
        size = struct.unpack_from("<I", data, at + 4)[0]
        if number >= change:
            other = cv2.imencode(".jpg", noise[number, :24, :32])[1].tobytes()
            assert len(other) <= size
            data[at + 8 : at + 8 + size] = other + bytes(size - len(other))
        at += 8 + size
    path.write_bytes(data)
    return path
