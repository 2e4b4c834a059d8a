"""JAX's persistent compilation cache, in the user's cache folder: a program that was compiled once is loaded next time.

The folder is `langevin-ib/programs` in the platform's own cache folder ($XDG_CACHE_HOME, or ~/.cache). The variable
LANGEVIN_IB_CACHE names another one, and turns the cache off where it says `off`. JAX runs what it finds there: it
should be a folder that nobody else can write to.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache as persistent

VARIABLE, OFF = "LANGEVIN_IB_CACHE", "off"
MAX_BYTES = 128 << 20  # the main command leaves 2 MB
KEPT_SHARE = 0.75  # of it, once there is more
LEAST_FREE = 64 << 20  # on a disk as full as that, nothing more is written
SUFFIX = "-cache"  # of JAX's own files

# A program of this package takes milliseconds, and there are a hundred: JAX's own limits leave all of them out.
# Its bound on the folder's size takes a lock on every read, and a package that is not needed otherwise.
SETTINGS = {
    "jax_enable_compilation_cache": True,
    "jax_persistent_cache_min_compile_time_secs": 0.0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
    "jax_compilation_cache_max_size": -1,
    "jax_raise_persistent_cache_errors": False,
}


def folder() -> Path | None:
    """Where compiled programs are kept; None if that is turned off, or there is no home.

    >>> import os
    >>> os.environ["LANGEVIN_IB_CACHE"], before = "off", os.environ.get("LANGEVIN_IB_CACHE")
    >>> folder() is None
    True
    >>> os.environ.pop("LANGEVIN_IB_CACHE") and before and os.environ.update(LANGEVIN_IB_CACHE=before)
    """
    chosen = os.environ.get(VARIABLE, "").strip()
    if chosen.lower() == OFF:
        return None
    if chosen:
        return Path(chosen).expanduser().absolute()
    import platformdirs  # noqa: PLC0415 - not for `--help`

    cache = platformdirs.user_cache_path("langevin-ib", appauthor=False)
    return cache / "programs" if cache.is_absolute() else None  # of a user without a home it is called ~


@contextmanager
def persistent_cache(*, enabled: bool = True) -> Iterator[Path | None]:
    """While this is open, JAX keeps what it compiles, and takes from there what it has compiled before.

    The cache makes nothing but time: without a home, where the folder cannot be written, or on a full disk there is
    none, or less of one, and nobody is told. What the caller has set of JAX, a cache folder of its own too, is found
    again afterwards.

    It belongs to the process, not to a thread, and so to a `Session`, of which one is open at a time.

    Args:
        enabled: whether at all; if not, the caller's own settings hold.

    Yields:
        the folder; None where there is no cache.
    """
    place = _usable(folder()) if enabled else None
    if place is None:
        yield None
        return
    changed = SETTINGS | {"jax_compilation_cache_dir": str(place)}
    before = {name: getattr(jax.config, name) for name in changed}
    with warnings.catch_warnings():
        # Of an entry that another process is writing, that a full disk has cut short: it is compiled once more.
        warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache entry")
        try:
            _configure(changed)
            yield place
        finally:
            _configure(before)


def _configure(settings: Mapping[str, object]) -> None:
    """Set, and make JAX look: it decides once whether there is a cache, and where, when it first compiles."""
    for name, value in settings.items():
        jax.config.update(name, value)
    persistent.reset_cache()


def _usable(place: Path | None) -> Path | None:
    """The folder if it is one that can be written, with some space left; made if need be, and kept in bounds."""
    if place is None:
        return None
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(place, os.W_OK | os.X_OK) or shutil.disk_usage(place).free < LEAST_FREE:
            return None
        tidy(place)
    except OSError:
        return None
    return place


def tidy(place: Path, limit: int = MAX_BYTES) -> None:
    """Remove what has not been used for longest, if the entries are larger than the limit all together.

    Another process may be doing the same, or reading: a file that is gone was not needed, one that is read stays until
    it has been.
    """
    entries, total = [], 0
    with os.scandir(place) as found:
        for entry in found:
            if not entry.name.endswith(SUFFIX):
                continue
            with contextlib.suppress(OSError):
                about = entry.stat()
                entries.append((max(about.st_atime, about.st_mtime), about.st_size, entry.path))
                total += about.st_size
    if total <= limit:
        return
    for _, size, path in sorted(entries):
        with contextlib.suppress(OSError):
            os.unlink(path)
        total -= size
        if total <= KEPT_SHARE * limit:
            return
