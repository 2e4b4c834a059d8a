"""The plug-in's own tests: every contract check of each of its parts, by one decorator."""

from langevin_ib.testing import parametrize_with_checks


@parametrize_with_checks(
    ("model", "orbit_extras.boost:boost"),
    ("confinement", "orbit_extras.quartic:QUARTIC"),
    ("kernel", "orbit_extras.heun:HEUN"),
    ("law", "orbit_extras.half:HALF"),
    ("noise", "orbit_extras.signs:SIGNS"),
)
def test_contract(check):
    check()
