"""Orbits and slices by automatic differentiation; what holds of a model: its contract, its charges, its correction."""

from langevin_ib.geometry.gram import (
    SliceReport,
    all_fields,
    constraint_gram,
    coupling,
    derived_slice_terms,
    fundamental_fields,
    largest_curvature,
    log_det_gram,
    log_orbit_jacobian,
    log_slice_volume,
    moment_jacobian,
    orbit_curvatures,
    orbit_gram,
    reduced_curvatures,
    slice_report,
    slice_terms,
)

__all__ = [
    "SliceReport",
    "all_fields",
    "constraint_gram",
    "coupling",
    "derived_slice_terms",
    "fundamental_fields",
    "largest_curvature",
    "log_det_gram",
    "log_orbit_jacobian",
    "log_slice_volume",
    "moment_jacobian",
    "orbit_curvatures",
    "orbit_gram",
    "reduced_curvatures",
    "slice_report",
    "slice_terms",
]
