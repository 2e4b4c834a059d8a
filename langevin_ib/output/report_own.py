"""What the judge of draws of one's own says beyond its table: the units of its error bars, T, what is missing."""

from __future__ import annotations

from pathlib import PurePath

from langevin_ib.output.blocks import Line
from langevin_ib.runs.own_details import OwnDrawsDetails
from langevin_ib.runs.result import Result
from langevin_ib.statistics.records import Absent

NO_BREAK = "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}"  # no line ends inside a number
FEW_UNITS = 32  # below which there is no p-value, nor any verdict that rests on one


def own_draws_budget(result: Result, details: OwnDrawsDetails) -> str:
    """How many draws were given."""
    del result
    of = f" of {PurePath(details.source).name}" if _is_file(details) else ""
    return f"{details.chains} chains × {details.draws} draws{of}"


def own_draws_caption(result: Result, details: OwnDrawsDetails, sample: str) -> str:
    """The second line above the picture."""
    source = PurePath(details.source).name if _is_file(details) else "draws of one's own"
    c = result.coefficient
    measured = "" if isinstance(c, Absent) else f"; c = {c}".replace(" = ", NO_BREAK)
    doubt = " (in doubt)" if result.doubts else ""
    return f"{source}, {sample}{measured}{doubt}"


def own_draws_rerun(result: Result, details: OwnDrawsDetails) -> tuple[str, ...]:
    """The command that judges them again; none where they or the model were objects."""
    if "@" in result.plan.config.model_name or not _is_file(details):
        return ()
    burn_in = f" --burn-in {details.burn_in}" if details.burn_in else ""
    return (
        f"python -m langevin_ib judge {PurePath(details.source).name} --config config.toml{burn_in}",
        "# config.toml lies in the folder of this page",
    )


def own_draws_lines(result: Result, details: OwnDrawsDetails) -> tuple[Line, ...]:
    """What is said against the law that they are said to have, T, units, defaults, what is missing."""
    own = next((law.about.name for law in next(iter(result.invariants.values())).laws.values()
                if law.about.role == "own"), "own")  # fmt: skip
    lines = [Line(f"against the {own} law: {doubt}", "yellow") for doubt in result.against]
    measured = details.temperature(result)
    if measured is not None and details.thermometer is not None:
        said = result.plan.config.temperature
        text = (
            f"{details.thermometer.words} = {measured.value:.5g} ± {measured.se:.2g}, which is the T of the draws if L "
            f"and confinement are those of the settings; their T is {said:.5g}"
        )
        lines.append(Line(text))
    lines.append(Line(_units(details)))
    if details.claimed:
        lines.append(Line(f"what the draws are said to be is a default in part: {', '.join(details.claimed)}"))
    if details.ignored:
        lines.append(Line(f"not used: {', '.join(details.ignored)}"))
    return (*lines, *(Line(text, "yellow") for text in details.unmeasured))


def _is_file(details: OwnDrawsDetails) -> bool:
    return bool(PurePath(details.source).suffix)


def _units(details: OwnDrawsDetails) -> str:
    """What error bars are made of."""
    parts = [f"{details.dropped} draws of each chain were left out at its beginning"] if details.dropped else []
    units = details.chains * details.batches
    if details.batches > 1:
        length = details.draws // details.batches
        parts.append(
            f"error bars are those of {units} batches, {details.batches} of each chain, of {length} draws: "
            f"{length / (details.autocorrelation or 1.0):.3g} times the {details.autocorrelation:.3g} draws in which "
            f"{details.slowest} forgets its past"
        )
    else:
        parts.append(f"error bars are those of {units} chains")
    if units < FEW_UNITS:
        parts.append(f"{FEW_UNITS} would have a p-value, without which no law is told to differ")
    return "; ".join(parts)
