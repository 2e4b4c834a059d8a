"""Folders of results: settings, summary, arrays, pictures, page."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from langevin_ib.output.blocks import Report
from langevin_ib.output.dataset import draws
from langevin_ib.output.folders import CONFIG, discard, png, summary_json, write, write_folder
from langevin_ib.output.page import page
from langevin_ib.output.report import run_report
from langevin_ib.plain import JsonObject
from langevin_ib.runs.result import Result
from langevin_ib.stages import ASKED, STATE, STATES, slug
from langevin_ib.studies.result import StudyResult, folder_name

Files = Mapping[str, Callable[[], str | bytes | memoryview]]  # name: what makes its content


def run_folder(result: Result, out: str | Path) -> Path:
    """`<out>/<model>-<hash>`, the hash being that of the resolved configuration."""
    return Path(out) / result.plan.config.run_name


def save(result: Result, out: str | Path) -> Path:
    """Write `config.toml`, `summary.json`, `draws.nc`, `histogram.png` and `report.html`; returns the folder.

    Of a run that kept checkpoints the folder has, in `state/`, where its chains ended, for a longer run to go on from;
    the checkpoints are removed once the folder stands.

    Raises:
        OSError: the folder cannot be written; what stood there before is untouched, and so are the checkpoints.
    """
    files: Files = {
        CONFIG: result.plan.config.to_toml,
        "summary.json": lambda: summary_json(result.summary),
        "draws.nc": lambda: draws(result).to_netcdf(engine="h5netcdf"),
    }
    return _save(run_folder(result, out), files, run_report(result), result.checkpoints, STATES)


def study_folder(result: StudyResult, out: str | Path) -> Path:
    """`<out>/<name>-<hash>`, or `<out>/<name>-<subject>-<hash>`; the hash is that of its configuration."""
    return Path(out) / folder_name(result.name, result.subject, result.config)


def study_summary(result: StudyResult, report: Report) -> JsonObject:
    """The content of `summary.json`: the result, what it is called, and its conclusions in words."""
    return {**result.to_dict(), "title": report.title, "sentences": report.sentences}


def save_study(result: StudyResult, report: Report, out: str | Path, *, settings: bool = False) -> Path:
    """Write `summary.json`, what was recovered, each picture and `report.html`; returns the folder.

    Args:
        result: what the study came to.
        report: how it is told.
        out: where the folder goes.
        settings: whether its configuration is one of settings, which `config.toml` keeps.

    Raises:
        OSError: the folder cannot be written; what stood there before is untouched, and so are the checkpoints.
    """
    files: dict[str, Callable[[], str | bytes | memoryview]] = {}
    if settings:
        files[CONFIG] = lambda: tomli_w.dumps(result.config)
    files["summary.json"] = lambda: summary_json(study_summary(result, report))
    if result.saved:
        files["recovered.npz"] = lambda: _npz(result.saved)
    return _save(study_folder(result, out), files, report, result.checkpoints)


def _save(folder: Path, files: Files, report: Report, checkpoints: Path | None, states: Sequence[str] = ()) -> Path:
    def fill(fresh: Path) -> None:
        for name in (*(f"{slug(stage)}.npz" for stage in states), ASKED) if states else ():
            if checkpoints is not None:
                _keep(checkpoints / name, fresh / STATE)
        for name, content in files.items():
            write(fresh / name, content())
        images = {}
        for picture in report.pictures:
            images[picture.name] = png(picture.draw())
            write(fresh / f"{picture.name}.png", images[picture.name])
        write(fresh / "report.html", page(report, images))

    write_folder(folder, fill)
    discard(checkpoints)
    return folder


def _keep(state: Path, folder: Path) -> None:
    """A saved state into a folder, which is made for the first: a link where the disk has links, else a copy."""
    if not state.exists():
        return
    folder.mkdir(exist_ok=True)
    try:
        os.link(state, folder / state.name)
    except OSError:
        shutil.copyfile(state, folder / state.name)


def _npz(arrays: Mapping[str, np.ndarray]) -> memoryview:
    buffer = io.BytesIO()
    np.savez(buffer, **dict[str, Any](arrays))  # whose other argument, allow_pickle, older NumPy does not know
    return buffer.getbuffer()
