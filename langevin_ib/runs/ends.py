"""Where the chains of a finished run ended, for the chains of another to begin there.

The run's folder keeps the state of its chains after the last step (`state/sampling.npz`): of each block first what
drives its chains, in whole numbers, then their positions, leaf by leaf.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from langevin_ib.config.run import RunConfig
from langevin_ib.config.settings import read_settings
from langevin_ib.ensemble.checkpoint import read_saved
from langevin_ib.errors import ConfigError
from langevin_ib.models.base import Model, Params
from langevin_ib.stages import STATE, slug

CONFIG, SAMPLING = "config.toml", "sampling"
OPTION = "from_run"
SAME = ("model_name", "metric")  # of both runs, besides the options of the model


@dataclass(frozen=True)
class Ends:
    """The last positions of a run's chains.

    Attributes:
        positions: a parameter pytree with a leading chain axis.
    """

    positions: Params

    def starts(self, dtype: Any) -> Params:
        """In the precision of the chains that begin there."""
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), self.positions)

    def key(self, key: Key[Array, ""]) -> Key[Array, ""]:
        """Another key than that of the run itself, whose random numbers these chains have seen: by where they stand."""
        seen = 0
        for leaf in jax.tree.leaves(self.positions):
            seen = zlib.crc32(np.asarray(leaf).tobytes(), seen)
        return jax.random.fold_in(key, np.uint32(seen))


def check_from(config: RunConfig, model: Model) -> None:
    """Before any draw: that a run whose ends are to be starts, if one is named, has them.

    Raises:
        ConfigError: as `ends_of`.
    """
    if config.from_run is not None:
        ends_of(config, model)


def begin_together(config: RunConfig) -> bool:
    """Whether some chains begin at one point: those of a run of more chains than the one that it goes on from."""
    if config.from_run is None or not config.from_cyclic:
        return False
    theirs = RunConfig.from_dict(dict(read_settings(Path(config.from_run) / CONFIG)))
    return theirs.chains < config.chains


def ends_of(config: RunConfig, model: Model) -> Ends:
    """Where the chains of the run that a configuration goes on from ended.

    Args:
        config: names that run (`from_run`), says how many chains there are, and whether ends may be taken again.
        model: of both.

    Raises:
        ConfigError: there is no such run, or it keeps no state; its model is another; it has fewer chains, or more.
    """
    folder = Path(str(config.from_run))
    state = folder / STATE / f"{slug(SAMPLING)}.npz"
    if not (folder / CONFIG).is_file():
        raise ConfigError(OPTION, "the folder of a finished run", f"{folder}, which has no {CONFIG}")
    theirs = RunConfig.from_dict(dict(read_settings(folder / CONFIG)))
    _check_same(config, theirs, folder)
    if not state.is_file():
        raise ConfigError(
            OPTION, "a run that keeps where its chains ended", f"{folder}, which has no {STATE}/{state.name}"
        )
    saved = read_saved(state)
    if isinstance(saved, str):
        raise ConfigError(OPTION, "a run whose state can be read", f"{state}: {saved}")
    positions = _positions(saved.leaves, len(saved.at["burned"]), model, theirs.chains)
    if positions is None:
        raise ConfigError(OPTION, "a run whose state holds its chains' parameters", str(state))
    chains = theirs.chains
    if chains != config.chains:
        if chains > config.chains or not config.from_cyclic:
            more = " (or from_cyclic yes, to take them again and again)" if chains < config.chains else ""
            raise ConfigError("chains", f"{chains}, as many as {folder} has{more}", config.chains)
        places = np.arange(config.chains) % chains
        positions = jax.tree.map(lambda leaf: leaf[places], positions)
    return Ends(positions)


def _check_same(config: RunConfig, theirs: RunConfig, folder: Path) -> None:
    for name in SAME:
        if getattr(config, name) != getattr(theirs, name):
            what = name.removesuffix("_name")
            wanted = f"a run of {what} {_shown(getattr(config, name))}"
            raise ConfigError(OPTION, wanted, f"{folder}, of {what} {_shown(getattr(theirs, name))}")
    ours, other = config.model_options(), theirs.model_options()
    for name in sorted({*ours, *other}):
        if ours.get(name) != other.get(name):
            wanted = f"a run of a model with {name} = {_shown(ours.get(name))}"
            raise ConfigError(OPTION, wanted, f"{folder}, whose {name} is {_shown(other.get(name))}")


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)


def _positions(leaves: list[np.ndarray], blocks: int, model: Model, chains: int) -> Params | None:
    """Of all blocks together, filled up places dropped; None where the arrays are not those of such chains."""
    like = model.init(jax.random.key(0))
    shapes, each = [np.shape(leaf) for leaf in jax.tree.leaves(like)], len(leaves) // max(blocks, 1)
    found = []
    for first in range(0, blocks * each, max(each, 1)):
        block = leaves[first : first + each]
        begin = next((i for i, leaf in enumerate(block) if leaf.dtype.kind == "f"), len(block))
        parts = block[begin : begin + len(shapes)]
        if [part.shape[1:] for part in parts] != shapes or any(part.dtype.kind != "f" for part in parts):
            return None
        found.append(parts)
    if not found:
        return None
    whole = [jnp.asarray(np.concatenate(parts)[:chains]) for parts in zip(*found, strict=True)]
    if any(len(part) != chains or not bool(jnp.isfinite(part).all()) for part in whole):
        return None
    _, treedef = jax.tree.flatten(like)
    return jax.tree.unflatten(treedef, whole)
