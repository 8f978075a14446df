# %% [markdown]
# # vad_jax: quickstart
# Trains a small MNAD on a synthetic data set and evaluates it: minutes on a CPU runtime, less on a
# GPU or TPU. Put the repository into the runtime first (`!git clone` it, or upload it) and set its
# folder below.

# %%
import os
import subprocess
import sys

REPOSITORY = os.environ.get("VAD_JAX", "vad_jax")
if os.path.isdir(REPOSITORY):
    os.chdir(REPOSITORY)
assert os.path.exists("pyproject.toml"), "Set REPOSITORY to the folder of the vad_jax repository."

# %% [markdown]
# Colab's own jax fits its accelerator, so only what is missing is installed. TensorFlow is not
# needed: the frames lie on the device (`data.backend = "resident"`).

# %%
from importlib.util import find_spec

needed = {
    "flax": "flax",
    "optax": "optax",
    "orbax": "orbax-checkpoint",
    "ml_collections": "ml_collections",
    "absl": "absl-py",
    "cv2": "opencv-python-headless",
    "av": "av",
}
missing = [package for module, package in needed.items() if find_spec(module) is None]
pip = [sys.executable, "-m", "pip", "install", "-q"]
if missing:
    subprocess.run([*pip, *missing], check=True)
if find_spec("vad_jax") is None:
    subprocess.run([*pip, "--no-deps", "-e", "."], check=True)
sys.path.insert(0, os.getcwd())  # this runtime began before the package was there

import jax

print("jax", jax.__version__, "on", jax.devices())

# %% [markdown]
# The configuration is a typed tree; every key can be changed here.

# %%
from vad_jax.config_files import config_of
from vad_jax.runs.training import train

config = config_of("configs/quickstart.py")
config.data.backend = "resident"
config.stages.train.epochs = int(os.environ.get("EPOCHS", config.stages.train.epochs))
metrics = train(config, "runs/colab_quickstart")

# %% [markdown]
# The strongest hits: the frame, what the method made of it, and where they differ.

# %%
import json

import matplotlib.pyplot as plt

entries = json.load(open("runs/colab_quickstart/pictures/index.json"))
hits = [entry for entry in entries if entry["kind"] == "hit"][:3]
figure, axes = plt.subplots(len(hits), 1, figsize=(9, 3.2 * len(hits)), squeeze=False)
for axis, hit in zip(axes[:, 0], hits, strict=True):
    axis.imshow(plt.imread(f"runs/colab_quickstart/pictures/{hit['file']}"))
    axis.set_title(f"video {hit['video']}, frame {hit['frame']}, score {hit['score']:.1f}")
    axis.axis("off")
plt.show()

# %% [markdown]
# Scores of frames, and of a stream that knows nothing of the future.

# %%
import numpy as np

import vad_jax
from vad_jax.datasets.synthetic import videos as synthetic

detector = vad_jax.load("runs/colab_quickstart")
video = synthetic.video(0, 0, synthetic.TEST, 0)
result = detector.score(video.frames)
stream = detector.stream()
streamed = [pair for frame in video.frames for pair in stream.push(frame)] + stream.flush()
print("same scores:", np.array_equal([score for _, score in streamed], result.score[4:]))

figure, axis = plt.subplots(figsize=(9, 2.5))
axis.plot(result.score)
truth = video.masks.any(axis=(1, 2))
axis.fill_between(range(len(truth)), *axis.get_ylim(), where=truth, alpha=0.2, color="red")
axis.set(xlabel="frame", ylabel="score, higher = stranger")
plt.show()
