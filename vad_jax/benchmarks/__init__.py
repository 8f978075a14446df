"""What things cost: one command a question, `python -m vad_jax.benchmarks.NAME`.

`train`, `score`, `episode`, `meta`, `input`, `conv`, `startup`; each prints a table, and with
`--json` one last line of JSON. With `--torch` the same network runs in PyTorch, in turn with ours,
in the same process. `certainty` simulates how often intervals and p are right.

Measure on an idle machine. PyTorch's threads wait for each other at every operation, so that one
busy neighbour costs it far more than us (540 ms a window instead of 5 was seen, ours 6 either way;
two cores, 2026-11): where `cores_of_others` is more than a little, a ratio is worth nothing.
"""
