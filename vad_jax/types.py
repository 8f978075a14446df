"""The nouns: frozen records of plain values and functions that every room shares.

Arrays live only in pytrees that are passed in and handed back, never in these records.
This file imports nothing of the house and no jax.

Letters: B rows of a batch, T frames of a window, S frames a window scores, K labels,
F frames of a video, H W C.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

Variables = dict[str, Any]  # {"params": what gradients move, "state": what else moves or matters}
Batch = dict[str, Any]  # arrays of fixed shape: mask, video, frame, and what kind of row it is


class VadError(Exception):
    """Base of the errors that a message mends; commands print them without a traceback."""

    exit_code = 2


class ConfigError(VadError):
    """A configuration that cannot work."""


class DataError(VadError):
    """Frames, videos or labels that cannot be used."""


class CheckpointError(VadError):
    """A checkpoint or workdir that is missing, damaged, or of another run."""


class SourceError(VadError):
    """A live source that cannot be read."""


class TrainingError(VadError):
    """Training that went wrong by itself: a loss that is not finite."""

    exit_code = 1


class Stopped(VadError):
    """Work that was asked to end before its end; what is done is saved."""

    exit_code = 3


@dataclass(frozen=True)
class EpisodeSpec:
    """A row that is an episode: windows of one video to adapt on, and others to be judged by.

    Attributes:
      support: K, windows that are adapted on.
      query: Q, windows that judge the result.
      segments: 0: the support are K windows in a row, as at test time, and no query window shares a
        frame with them; else all K + Q begin in one of so many equal segments of the video.
    """

    support: int
    query: int
    segments: int = 0

    rows: ClassVar[str] = "vad_jax.data.episodes"


@dataclass(frozen=True)
class InputSpec:
    """What one example is: a window of `frames` frames of one video.

    Attributes:
      frames: T, every frame of the window, target included.
      sees: offsets that the network gets.
      target: offset that it must produce, or None.
      scored: offsets that a window scores.
      height, width, channels: of a frame as delivered, uint8.
      colour: order of the channels as delivered; no method flips them.
      range: the numbers that 0 and 255 become on the device.
      stride: frames of the video between neighbouring offsets.
      step: frames between the starts of neighbouring windows.
      lead: frames before the window that come with it, clipped to the video's first frame;
        a batch then holds `lead + T` frames a row, offset 0 behind the lead.
      tail: `drop` the frames that no whole step reaches, or `align` one last window with the end.
      segments: of training windows: 0: shuffled over all videos; else a batch is windows of one
        video from different ones of its so many equal segments, at one offset in each.
      row: where a row is not one window: a record that says what it is, like `EpisodeSpec`; its
        attribute `rows` names the module with the functions of such rows (`data/rows.py`).
    """

    frames: int
    sees: tuple[int, ...]
    target: int | None
    scored: tuple[int, ...]
    height: int
    width: int
    channels: int
    colour: Literal["rgb", "bgr", "grey"]
    range: tuple[float, float] = (-1.0, 1.0)
    stride: int = 1
    step: int = 1
    lead: int = 0
    tail: Literal["drop", "align"] = "drop"
    segments: int = 0
    row: Any = None

    @property
    def span(self) -> int:
        """Frames of the video from the first to the last of a window, both included."""
        return (self.frames - 1) * self.stride + 1


def window_spec(settings: Any, *, frames: int, sees: tuple[int, ...], target: int) -> InputSpec:
    """Windows whose target frame is produced from those that the network sees, and scored.

    Args:
      settings: the section `input` of a config: `height`, `width`, `channels`, `stride`, `step`.
      frames, sees, target: as in `InputSpec`.
    """
    return InputSpec(
        frames=frames,
        sees=sees,
        target=target,
        scored=(target,),
        height=settings.height,
        width=settings.width,
        channels=settings.channels,
        colour="bgr" if settings.channels == 3 else "grey",
        stride=settings.stride,
        step=settings.step,
    )


class Scores(NamedTuple):
    """What a method says of a batch of rows, in the paper's own units and direction.

    Attributes:
      parts: name → `[B, S]`, or `[B, S, K]` where the method has K labels; NaN where there is none.
      maps: `[B, S, h, w]`, higher = stranger, or None.
      boxes: `[B, 4]` in pixels of the source frame (rows that are objects; S is 1), or None.
    """

    parts: dict[str, Any]
    maps: Any = None
    boxes: Any = None


class VideoScores(NamedTuple):
    """The scored rows of one video, on the host. R rows, S frames that a row scores, K labels.

    Attributes:
      name: of the video.
      length: its frames, F.
      first: first frame of each row, int32 `[R]`, rising.
      frame: the frames that a row scores, int32 `[R, S]`, counted in the video.
      parts: name → float64 `[R, S]` (or `[R, S, K]`), NaN = none.
      boxes: float64 `[R, 4]` in pixels of the source frame, or None where rows are no objects.
    """

    name: str
    length: int
    first: Any
    frame: Any
    parts: dict[str, Any]
    boxes: Any = None


@dataclass(frozen=True)
class Fusion:
    """How parts become one number a frame, higher = stranger. Data: printable, kept with a run.

    Rows that are windows are first assigned to the frames that they score, the same way in both
    protocols; rows that are objects are combined first and then reduced to frames.

    Attributes:
      paper, online: the operations of each protocol in order, `(name, *arguments)`:
        `("assign", "mean" | "ninth" | "newest")` · `("negate", part)` · `("standardise",)` ·
        `("minmax", "video" | "set")` ·
        `("combine", result, {part: weight} | "max" | "squared_difference", *parts)` ·
        `("reduce", "max" | "map")` · `("filter", (time, y, x))` ·
        `("smooth", kernel, "nearest" | "reflect" | "zero", causal)` · `("floor", value)`;
        what each does stands in `evaluation/fusion.py`.
      default: the result that is *the* score.
    """

    paper: tuple[tuple[Any, ...], ...]
    online: tuple[tuple[Any, ...], ...]
    default: str


@dataclass(frozen=True)
class Picture:
    """Something of a method to look at, for each frame that a row scores.

    Attributes:
      image: `[B, S, h, w, c]`.
      title: what it is, in words.
      range: the values drawn as the darkest and the lightest.
      kind: `image`, of one channel or of the spec's, in its colour order; `maps`, c maps of one
        kind side by side; `vectors`, a point of c numbers at each place.
      anchors: of `vectors`: fixed points `[M, c]` to be drawn among them, or None.
      anchors_title: what those are.
      note: what helps to read it, or nothing.
    """

    image: Any
    title: str
    range: tuple[float, float] = (0.0, 1.0)
    kind: Literal["image", "maps", "vectors"] = "image"
    anchors: Any = None
    anchors_title: str = ""
    note: str = ""


def unchanged(variables: Variables) -> Variables:
    """The `begin` and `finish` of a stage that keeps the finished layout."""
    return variables


def everything(path: str) -> bool:
    """The `trainable` of a stage that freezes nothing."""
    return True


def silent(parts: Mapping[str, float]) -> str | None:
    """The `remark` of a stage that has nothing to say of its losses."""
    return None


@dataclass(frozen=True)
class Stage:
    """One phase of training.

    Attributes:
      name: of the stage; its checkpoints and statistics are filed under it.
      inputs: its own rows; they may differ from those that are scored.
      loss: `(params, state, batch, key, *, train) → (loss, (state, parts))`, means over rows with
        mask 1, `parts` unweighted. With `train=False` state comes back as it went in.
      optimizer: `(*, steps_per_epoch, steps) → optax.GradientTransformation`; where its state has
        `hyperparams["learning_rate"]` (`learning/optim.py`), that is logged.
      trainable: path like `decoder/conv1/kernel` → whether an optimiser moves it.
      begin: `(variables) → variables`, from the finished layout to the stage's.
      finish: its inverse.
      measure: `(params, state, batch) → {name: [B]}`, or None: taken over normal rows at the
        stage's end, held-out ones where there are any, in the stage's layout. Mean and deviation
        of each become constants, `state["measured"][name]["mean" | "std"]`, which `init` must have
        a place for and `begin` and `finish` keep: later stages, later runs and `score` find them
        there and nowhere else.
      remark: loss parts at the end of the first epoch → what a user should be told, or None.
      builds_on: what it needs and does not train, in words, or None: a run that begins with it is
        told so unless it starts from an earlier one.
    """

    name: str
    inputs: InputSpec
    loss: Callable[..., Any]
    optimizer: Callable[..., Any]
    trainable: Callable[[str], bool] = everything
    begin: Callable[..., Variables] = unchanged
    finish: Callable[[Variables], Variables] = unchanged
    measure: Callable[..., dict[str, Any]] | None = None
    remark: Callable[[Mapping[str, float]], str | None] = silent
    builds_on: str | None = None


@dataclass(frozen=True, eq=False)
class Method:
    """A method of anomaly detection as pure functions.

    Attributes:
      inputs: the rows that are scored.
      stages: the phases of training, in order; none where nothing is learned.
      fusion: how score parts become one number a frame.
      init: `(key) → variables`, finished layout.
      start: `(variables) → carry`; `()` where there is none.
      score: `(variables, carry, batch) → (carry, Scores)`. Without a carry rows may come from any
        video; with one they are consecutive windows of one stream, oldest first.
      carry_over: `none`; `video`, start anew for each video; `set`, one stream through all videos.
      adapt: `(variables, support, *, steps, learning_rate=None) → (variables, losses [steps])`:
        gradient steps on a batch of normal rows, by the method's own rule or, with a rate, plain.
      rule: `(variables) → str`: that rule in words.
      pictures: `(variables, batch) → {name: Picture}`; `target`, what came in, at least.
      labels: `(variables) → names` of the K of `[B, S, K]`, or None.
    """

    inputs: InputSpec
    stages: tuple[Stage, ...]
    fusion: Fusion
    init: Callable[..., Variables]
    start: Callable[[Variables], Any]
    score: Callable[..., tuple[Any, Scores]]
    carry_over: Literal["none", "video", "set"]
    adapt: Callable[..., tuple[Variables, Any]]
    pictures: Callable[..., dict[str, Any]]
    rule: Callable[[Variables], str] = lambda variables: "at adapt.learning_rate"
    labels: Callable[[Variables], tuple[str, ...] | None] = lambda variables: None


IDLE = Stage("idle", inputs=None, loss=None, optimizer=None)  # of a method without stages


def last_stage(method: Method) -> Stage:
    """The stage whose checkpoint is the run's result; `IDLE` where nothing is trained."""
    return method.stages[-1] if method.stages else IDLE


class Published(NamedTuple):
    """The tensors of a method's published state dict.

    Attributes:
      values: their name → (our path, beginning with `params/` or `state/`; `conv`, `upsample`,
        `linear` or `plain`: the layout of its axes).
      dead: names that the published network holds and never uses.
      memory: our path of the memory's items, which lie in a file of their own; or None.
      step_sizes: names of those that may have a learned step size for each of their numbers; they
        lie at the same paths below `state/step_size`.
    """

    values: dict[str, tuple[str, str]]
    dead: tuple[str, ...] = ()
    memory: str | None = None
    step_sizes: tuple[str, ...] = ()


_NONE = object()


@dataclass(frozen=True)
class Key:
    """One key of a configuration.

    Attributes:
      default: its value, or None where it is filled in from other keys or may stay empty.
      about: what it is, units included, for `--help`.
      kind: the type of a key whose default is None.
      choices: the values that there are, where they are few.
      above, least, most: bounds of a number; `above` itself is not allowed.
      evaluation: whether training never sees it, so that a run may be evaluated under another.
      state: whether the meaning of a run's state depends on it.
      before: the value that runs have meant which are older than the key.
    """

    default: Any
    about: str
    kind: type | None = None
    choices: tuple[Any, ...] = ()
    above: float | None = None
    least: float | None = None
    most: float | None = None
    evaluation: bool = False
    state: bool = False
    before: Any = _NONE

    @property
    def younger(self) -> bool:
        """Whether there are runs older than the key."""
        return self.before is not _NONE
