"""Two devices for every test, so that sharding is always exercised; x64 where a test asks for it."""

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 2)


@pytest.fixture(autouse=True)
def no_pulse(monkeypatch):
    """No lines of progress, which a busy machine would put between the lines that tests look at."""
    monkeypatch.setattr("langevin_ib.progress.EVERY_SECONDS", 1e6)


@pytest.fixture
def x64():
    """Float64 inside the test, as `langevin_ib.run` has it."""
    with jax.enable_x64(True):
        yield
