"""What stands in `langevin_ib.__all__`: each name there is, comes on first use, and has an example that runs."""

import subprocess
import sys

import pytest

import langevin_ib

NAMES = [name for name in langevin_ib.__all__ if name != "__version__"]


@pytest.mark.parametrize("name", NAMES)
def test_each_name_has_an_example(name):
    """Doctests are collected with the modules, so that an example is one that runs."""
    assert ">>> " in (getattr(langevin_ib, name).__doc__ or "")


def test_what_comes_later_is_what_is_public():
    assert set(langevin_ib.LATER) <= set(NAMES)
    assert list(langevin_ib.__all__) == sorted(langevin_ib.__all__)


def test_the_import_waits_for_none_of_them():
    code = "import sys, langevin_ib; print(sorted({'jax', 'numpy', 'numpyro', 'blackjax'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "[]\n"
