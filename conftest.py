"""Two tiers of tests: the quick ones always; with `--full` the long ones too, marked `full`, and the notebooks."""

import os
from collections import Counter

import pytest

LEFT_OUT = pytest.StashKey[int]()


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="the long tests, marked full, and the notebooks too")


def pytest_configure(config):
    # Compiled programs are not to fill the user's own folder; processes that tests start inherit it.
    os.environ.setdefault("LANGEVIN_IB_CACHE", str(config.rootpath / ".pytest_cache" / "programs"))
    os.environ.setdefault("LANGEVIN_IB_FAST", "1")  # of notebooks: fewer chains and steps
    config.stash[LEFT_OUT] = 0
    if config.getoption("full") and config.pluginmanager.hasplugin("nbmake"):
        config.option.nbmake = True


def named(item, config):
    """Whether the command line has this very test, `file::test`, and not only its file or folder."""
    own = item.nodeid.partition("::")[2]
    for argument in config.args:
        path, _, names = argument.partition("::")
        if names and (config.invocation_params.dir / path).resolve() == item.path:
            rest = own.removeprefix(names)
            if own.startswith(names) and (not rest or rest.startswith(("[", "::"))):
                return True
    return False


def is_long(item):
    """Whether it is marked `full`; of several cases, by their ids, the mark may mean `only` some, or all `but` some."""
    mark = item.get_closest_marker("full")
    if mark is None:
        return False
    case = item.callspec.id if hasattr(item, "callspec") else None
    return case in mark.kwargs["only"] if "only" in mark.kwargs else case not in mark.kwargs.get("but", ())


def check_marks(items):
    """Every case that a mark names exists: a case that has been renamed would change its tier unseen."""
    cases, listed = {}, {}
    for item in items:
        mark = item.get_closest_marker("full")
        if mark is not None and hasattr(item, "callspec"):
            test = item.nodeid.partition("[")[0]
            cases.setdefault(test, set()).add(item.callspec.id)
            listed[test] = {*mark.kwargs.get("only", ()), *mark.kwargs.get("but", ())}
    for test, names in listed.items():
        if names - cases[test]:
            raise pytest.UsageError(f"{test}: its mark full names {sorted(names - cases[test])}, which are no cases")


def pytest_collection_modifyitems(config, items):
    if not any("[" in argument for argument in config.args):
        check_marks(items)
    if config.getoption("full"):
        return
    long = [item for item in items if is_long(item) and not named(item, config)]
    if long:
        chosen = set(items) - set(long)
        items[:] = [item for item in items if item in chosen]
        config.stash[LEFT_OUT] = len(long)
        config.hook.pytest_deselected(items=long)


def pytest_sessionfinish(session):
    if hasattr(session.config, "workeroutput"):  # a process of pytest-xdist: the one that reports collects nothing
        session.config.workeroutput["left_out"] = session.config.stash[LEFT_OUT]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    # Every process collects everything, so that the counts are one and the same.
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get("left_out", 0)


def pytest_terminal_summary(terminalreporter, config):
    count = config.stash[LEFT_OUT]
    if count:
        terminalreporter.write_line(f"{count} long tests were left out: --full runs them, and the notebooks")
    # What this machine lacks is said, with -q too; pytest shows reasons only where -r asks for them.
    skipped = (report.longrepr for report in terminalreporter.stats.get("skipped", ()))
    reasons = Counter(place[-1].removeprefix("Skipped: ") for place in skipped if isinstance(place, tuple))
    for reason, number in reasons.items():
        terminalreporter.write_line(f"{number} test{'s were' if number > 1 else ' was'} left out: {reason}")
