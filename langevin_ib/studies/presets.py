"""The set-ups of the paper's figures 2 to 4, each once: for the figure, its attribution, and a study of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from langevin_ib.plain import Json


@dataclass(frozen=True)
class Preset:
    """A model and how it is trained.

    Attributes:
        model: its name.
        options: of the model; `start_scale` is the standard deviation of the starts' entries.
        noise: kind of the batches.
        lr: η for the model's loss.
        steps: of an attribution; the figure's own run may be longer.
        batch_size: B.
        data_noise: s₀ of the labels, in every run with batches.
    """

    model: str
    options: Mapping[str, Json]
    noise: str
    lr: float
    steps: int
    batch_size: int = 4
    data_noise: float = 0.0


PRESETS: dict[str, Preset] = {
    "figure-2": Preset(
        "relu",
        {
            "inputs": 3, "width": 16, "population": True, "ridge": 0.0, "gain": 2.0, "teacher_scale": 1.5,
            "start_scale": 0.05, "skew": 1.2, "random_signs": True,
        },
        noise="fresh", lr=5e-5, steps=40_000, batch_size=8, data_noise=0.1,
    ),
    "figure-3": Preset(
        "attention",
        {
            # Half the gain, of the sum over 8 output channels: the mean squared error over all entries.
            "inputs": 16, "width": 8, "length": 8, "samples": 64, "ridge": 0.0, "gain": 0.25, "train_values": True,
            "teacher_scale": 0.75, "start_scale": 0.1, "skew": 1.2, "boost": True,
        },
        noise="fresh", lr=1e-3, steps=20_000, batch_size=16, data_noise=0.02,
    ),
    "figure-4": Preset(
        "matrix",
        {
            "rows": 20, "cols": 20, "rank": 20, "observed": 0.2, "ridge": 0.0, "spectrum": "15,5", "start_scale": 0.1,
        },
        # The paper's 1e-3 is for the mean over all 400 entries of the squared error of those kept, half of the observed
        # ones at each step, which on the average is 1/400 of the loss here.
        noise="bernoulli", lr=2.5e-6, steps=500_000,
    ),
}  # fmt: skip
