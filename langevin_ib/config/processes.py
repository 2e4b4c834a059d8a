"""Settings of the built-in processes, with the rules among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from langevin_ib.config.confinements import ConfinementSettings
from langevin_ib.config.kernels import INCREMENTS, KERNELS
from langevin_ib.config.kinds import (
    AUTO,
    BELOW_ONE,
    NO_LAWS,
    NON_NEGATIVE,
    POSITIVE,
    Extension,
    Laws,
    OneOf,
    Whole,
    YesNo,
)
from langevin_ib.config.noises import NOISES, NoiseSettings
from langevin_ib.config.settings import Setting, Settings, setting
from langevin_ib.config.value_schedules import SCHEDULE
from langevin_ib.errors import ConfigError

if TYPE_CHECKING:
    from langevin_ib.config.run import RunConfig

Auto = Literal["auto"]
LAWS = ("exact", "slice", "hard", "pushforward", "printed", "naive")
_LAWS: dict[str, Any] = {
    "text": "laws to compare with langevin (sgd has its own)",
    "kind": Laws("law", LAWS),
    "group": "comparison",
    "feeds": False,
}


class ProcessSettings(Settings):
    """Base of the settings of a process.

    Attributes:
        confine: the confinement by default.
        steps_by_rule: whether a rule of the plan sets the number of steps.
        gibbs: whether it samples exp(−(L + C)/T) dθ at the `temperature` of its settings. One that does can use every
            confinement; one that does not, those that are not `gibbs_only`.
        mixing: what helps chains that hardly mix, beside more steps, as a doubt ends.
        finer: what helps steps that are too large.
        wider: what spreads the draws, so that laws are further apart.
        scheduled: whether its steps take values that change along a run.
        continues: whether its chains can begin where those of another run ended.
    """

    confine: ClassVar[str] = "stiff"
    steps_by_rule: ClassVar[bool] = False
    gibbs: ClassVar[bool] = True
    mixing: ClassVar[str] = ""
    finer: ClassVar[str] = "a smaller step_size"
    wider: ClassVar[str] = "a higher temperature"
    scheduled: ClassVar[bool] = False
    continues: ClassVar[bool] = False

    def settled(self, config: RunConfig) -> ProcessSettings:
        """With what the choices of the configuration imply filled in.

        Raises:
            ConfigError: a setting contradicts a choice.
        """
        del config
        return self

    @classmethod
    def can_use(cls, other: Setting | ConfinementSettings | type[ConfinementSettings]) -> bool:
        """Whether a confinement, or a setting of one, means something with this process."""
        return cls.gibbs or not other.gibbs_only

    @property
    def temperature(self) -> float:
        """T, where the process has one by its settings."""
        raise LookupError(f"{type(self).__name__} gives no temperature")


@dataclass(frozen=True)
class LangevinSettings(ProcessSettings):
    """Langevin dynamics at T = σ²/β."""

    mixing: ClassVar[str] = ", a lower beta or a larger step_size"
    scheduled: ClassVar[bool] = True
    continues: ClassVar[bool] = True

    beta: float = setting(10.0, "inverse temperature β", POSITIVE, group="model")
    beta_schedule: str | None = setting(
        None,
        "β by step: linear 1 100 20000; cosine, inverse, steps, restarts; in place of beta",
        SCHEDULE,
        group="model",
        changes="beta",
    )
    sigma: float = setting(1.0, "noise level σ; the temperature is T = σ²/β", POSITIVE, group="model")
    integrator: str | Auto = setting(
        AUTO,
        "kernel of the chains; auto: leimkuhler-matthews, or projected if hard",
        Extension("kernel", tuple(KERNELS)),
        auto=True,
        group="dynamics",
        place=-1,
        follows=("confine",),
    )
    step_size: float | Auto = setting(
        AUTO,
        "h; auto: from the curvature, checked at h/2",
        POSITIVE,
        auto=True,
        group="dynamics",
        place=-1,
        feeds=False,
        ruled=True,
    )
    step_check: bool | Auto = setting(
        AUTO, "companion run at h/2; auto: yes, but for mala", YesNo(), auto=True, group="dynamics", feeds=False
    )
    increments: str | Auto = setting(
        AUTO,
        "random numbers of a step; auto: four-point where steps are fine, else normal; the check at h/2 has normals",
        OneOf(*INCREMENTS),
        auto=True,
        group="dynamics",
        feeds=False,
        ruled=True,
        follows=("integrator", "confine"),
    )
    laws: tuple[str, ...] = setting(LAWS, **_LAWS)
    reference: str = setting(
        "mala", "reference sampler", OneOf("mala", "none"), group="comparison", place=3, feeds=False
    )

    def settled(self, config: RunConfig) -> LangevinSettings:
        confinement = config.confinement
        settled = self.changed(integrator=confinement.kernel) if self.integrator == AUTO else self
        kernel = config.settings_of("kernel")
        if kernel.held != confinement.held:
            wanted = confinement.kernel if confinement.held else f"another than {settled.integrator}"
            raise ConfigError("integrator", f"{wanted} when confine is {config.confine}", settled.integrator)
        if settled.increments == AUTO and len(kernel.increments) == 1:
            settled = settled.changed(increments=kernel.increments[0])
        elif settled.increments not in (AUTO, *kernel.increments):
            wanted = f"{' or '.join(kernel.increments)} with integrator {settled.integrator}"
            raise ConfigError("increments", wanted, settled.increments)
        for name in config.schedules:
            if not kernel.scheduled:
                wanted = f"left out with integrator {settled.integrator}, whose chains sample one law from the start"
                raise ConfigError(f"{name}_schedule", wanted, getattr(config, f"{name}_schedule"))
        if config.from_run is not None and kernel.adjusted:
            wanted = f"left out with integrator {settled.integrator}, whose chains move while their step is tuned"
            raise ConfigError("from_run", wanted, config.from_run)
        self._check_temperature(config)
        return settled

    def _check_temperature(self, config: RunConfig) -> None:
        in_range = "such that T = sigma²/beta lies in [1e-8, 1e8]"
        if "beta" in config.schedules:
            betas = config.schedules["beta"].range(0, config.last_step)
            if not (self.sigma < 1e100 and all(1e-8 <= self.sigma**2 / beta <= 1e8 for beta in betas)):
                raise ConfigError("beta_schedule", in_range, f"{self.beta_schedule} with sigma {self.sigma:g}")
        elif not (self.sigma < 1e100 and 1e-8 <= self.temperature <= 1e8):
            of_sigma = "sigma" in config.given and "beta" not in config.given
            name, other = ("sigma", "beta") if of_sigma else ("beta", "sigma")
            got = f"{getattr(self, name):g} with {other} {getattr(self, other):g}"
            raise ConfigError(name, in_range, got)

    @property
    def temperature(self) -> float:
        """T = σ²/β."""
        return self.sigma**2 / self.beta


@dataclass(frozen=True)
class SgdSettings(ProcessSettings):
    """Stochastic gradient descent: its noise, learning rate and momentum."""

    group: ClassVar[str] = "descent"
    confine: ClassVar[str] = "none"
    steps_by_rule: ClassVar[bool] = True  # it follows from how fast χ decays
    gibbs: ClassVar[bool] = False
    mixing: ClassVar[str] = " or a larger lr, and where they collapse a smaller lr or less noise"
    finer: ClassVar[str] = "a smaller lr"
    wider: ClassVar[str] = "a larger lr, more noise"
    scheduled: ClassVar[bool] = True
    continues: ClassVar[bool] = True

    noise: str = setting(
        "label",
        "label: all examples, noisy labels; minibatch: of the data set; fresh: new examples; bernoulli: each example "
        "kept by a coin; isotropic: as strong as minibatch (with --batch-size) or label, in a random direction; none: "
        "gradient descent",
        Extension("noise", tuple(NOISES)),
    )
    lr: float | Auto = setting(
        AUTO, "learning rate η; auto: 0.01 (1 − μ)/curvature, over m² if m > 1", POSITIVE, auto=True, shown=""
    )
    lr_schedule: str | None = setting(
        None, "η by step, as β by --beta-schedule; in place of lr", SCHEDULE, changes="lr"
    )
    label_noise: float | Auto = setting(
        AUTO,
        "s, noise on the labels; auto: 2.8√(n/w) for n examples of weight w with label, 0 with others",
        NON_NEGATIVE,
        auto=True,
        shown="",
    )
    flip_rate: float | None = setting(
        None,
        "of labels that are classes: probability with which one of a step is flipped; 0.1 with label, 0 with others",
        BELOW_ONE,
    )
    batch_size: int | Auto | None = setting(
        None, "B, examples in a step of minibatch or fresh; auto: 1", Whole(1, 10**6), auto=True
    )
    momentum: float = setting(0.0, "μ of heavy-ball momentum", BELOW_ONE)
    replacement: bool = setting(True, "minibatch: with replacement; else by epochs", YesNo(), feeds=False)
    # None for 1, so that a run without it is called as it was before there was one.
    noise_scale: float | None = setting(
        None, "m: steps take ∇L + m(ĝ − ∇L), so that Σ is m²Σ; the law (S) depends on ηm² alone", POSITIVE, shown="1"
    )
    laws: tuple[str, ...] | None = setting(None, **_LAWS)

    def settled(self, config: RunConfig) -> SgdSettings:
        if self.laws not in (None, (NO_LAWS,)):
            wanted = f"left out with sampler {config.sampler}, which has its own, or {NO_LAWS}"
            raise ConfigError("laws", wanted, " ".join(self.laws or ()))
        noise = config.settings_of("noise")
        implied: dict[str, Any] = {}
        batch_size, label_noise = self.batch_size, self.label_noise
        if batch_size in (AUTO, None):
            batch_size = implied["batch_size"] = 1 if noise.batched else None
        elif "batch_size" not in noise.takes:
            wanted = f"left out with noise {self.noise} (or noise minibatch given)"
            raise ConfigError("batch_size", wanted, batch_size)
        if label_noise == AUTO and ("label_noise" not in noise.takes or batch_size is not None):
            label_noise = implied["label_noise"] = 0.0
        if "label_noise" not in noise.takes and label_noise:
            raise ConfigError("label_noise", f"left out with noise {self.noise}", label_noise)
        if self.flip_rate and "label_noise" not in noise.takes:
            raise ConfigError("flip_rate", f"left out with noise {self.noise}", f"{self.flip_rate:g}")
        if self.flip_rate and label_noise == AUTO:
            label_noise = implied["label_noise"] = 0.0
        if "label_noise" in noise.takes and label_noise == 0.0 and batch_size is None and not self.flip_rate:
            raise ConfigError("label_noise", f"a positive number with noise {self.noise}", label_noise)
        self._check_taken(config, noise)
        if self.noise_scale == 1.0:
            implied["noise_scale"] = None
        return self.changed(**implied)

    def _check_taken(self, config: RunConfig, noise: NoiseSettings) -> None:
        """That the noise takes what is given with it."""
        if "momentum" not in noise.takes and self.momentum:
            raise ConfigError("momentum", f"left out with noise {self.noise}{noise.why_no_momentum}", self.momentum)
        if "lr" in config.schedules and not noise.scheduled:
            wanted = f"left out with noise {self.noise}{noise.why_no_momentum}"
            raise ConfigError("lr_schedule", wanted, self.lr_schedule)
        if "replacement" not in noise.takes and not self.replacement:
            raise ConfigError("replacement", f"yes with noise {self.noise}", "no")
        if self.noise_scale is not None and self.noise == "none":
            raise ConfigError("noise_scale", "left out with noise none", f"{self.noise_scale:g}")


PROCESSES: dict[str, type[ProcessSettings]] = {"langevin": LangevinSettings, "sgd": SgdSettings}
