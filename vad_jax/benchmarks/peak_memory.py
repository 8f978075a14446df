"""Peak memory of an arm, told by a fresh process about itself.

That process imports what the arm needs and nothing else: a twin in PyTorch runs without JAX.
"""

from __future__ import annotations

import importlib
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

from vad_jax import runtime

_CALLS = 3  # the second one finds what the first has left


def memory(function: str, *arguments: Any, keep_heap: bool) -> dict[str, float]:
    """Memory in MB: `peak_mb`, and `before_mb`, when the arm was built and not yet called.

    On a CPU both are resident memory, compiling included; on an accelerator what the framework's
    own allocator says of it.

    Args:
      function: `module:name` of what makes the arm there.
      arguments: of the function.
      keep_heap: as the command's flag.
    """
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        input=pickle.dumps((function, arguments, keep_heap)),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"A measured process failed:\n{done.stderr.decode()}")
    return json.loads(done.stdout.splitlines()[-1])


def _main() -> None:
    function, arguments, keep_heap = pickle.load(sys.stdin.buffer)
    if keep_heap:
        runtime.keep_heap()
    module, _, name = function.partition(":")
    arm = getattr(importlib.import_module(module), name)(*arguments)
    before = _in_use(peak=False)
    for _ in range(_CALLS):
        arm()
    print(json.dumps({"peak_mb": _in_use(peak=True) / 1e6, "before_mb": before / 1e6}))


def _in_use(*, peak: bool) -> int:
    """Bytes, on the accelerator if there is one."""
    torch, jax = sys.modules.get("torch"), sys.modules.get("jax")
    if torch and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() if peak else torch.cuda.memory_allocated()
    about = jax.devices()[0].memory_stats() if jax else None
    if about:
        return about["peak_bytes_in_use" if peak else "bytes_in_use"]
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss begins with what the parent process had
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return 1024 * int(fields["VmHWM" if peak else "VmRSS"].split()[0])
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    _main()
