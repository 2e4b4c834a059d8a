"""What a run whose values change has to say besides: which draws are judged, at which values, how histograms move."""

from __future__ import annotations

from langevin_ib.output.blocks import Line
from langevin_ib.runs.protocol import Move, ScheduleInfo


def schedule_lines(schedule: ScheduleInfo | None) -> list[Line]:
    """None of a run whose values do not change."""
    if schedule is None:
        return []
    head = f"what changes: {schedule.words()}"
    if schedule.waited is not None:
        head += f"; {schedule.waited:.3g} relaxation times of the slowest coordinate lie between"
    lines = [Line(head, "" if schedule.ended else "yellow")]
    if schedule.moves:
        lines.append(Line("how the histogram moves, and its distance from that of the last stretch:"))
    return lines + [Line(_told(move)) for move in schedule.moves]


def _told(move: Move) -> str:
    values = ", ".join(f"{name} {value:.4g}" for name, value in move.values.items())
    scalars = ", ".join(f"{name} {mean:.4f} (TV {move.tv[name]:.4f})" for name, mean in move.mean.items())
    return f"  steps {move.steps[0]} to {move.steps[1]}, {values}: mean of {scalars}"
