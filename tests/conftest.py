"""Four CPU devices, no silent broadcasting between ranks; data beside the repository, if any."""

from pathlib import Path

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="module")
def x64():
    """Computes in float64 for one module."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.fixture(scope="session")
def ped2_root():
    """UCSD Ped2, repacked layout; tests that need it are skipped where it is absent."""
    root = SHARED / "data" / "ped2"
    if not root.is_dir():
        pytest.skip("needs UCSD Ped2 in ../shared/data/ped2")
    return root
