"""Two devices for every test, so that sharding is always exercised; x64 where a test asks for it."""

import tempfile

import jax
import pytest

# A package that only `test_plugin.py` puts on the path; a script of the book that needs PyTorch.
collect_ignore = ["plugin", "sgld_torch.py"]

jax.config.update("jax_num_cpu_devices", 2)

# Most of a small run's time is compilation. A program that this process has compiled before comes from its file, the
# same to the last bit; the smallest too, of which a run has a hundred. One folder for each process, for JAX does not
# lock the files that it writes.
COMPILED = tempfile.TemporaryDirectory(prefix="langevin_ib_compiled_")
jax.config.update("jax_compilation_cache_dir", COMPILED.name)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def pytest_unconfigure():
    COMPILED.cleanup()


@pytest.fixture(autouse=True)
def no_pulse(monkeypatch):
    """No lines of progress, which a busy machine would put between the lines that tests look at."""
    monkeypatch.setattr("langevin_ib.output.progress.EVERY_SECONDS", 1e6)


@pytest.fixture
def x64():
    """Float64 inside the test, as `langevin_ib.run` has it."""
    with jax.enable_x64(True):
        yield
