"""A plugin of pytest for suites of others: leaves out what the list of exceptions excludes, and writes every outcome down as it happens, so
that they are there even when a test takes the whole run down."""

import json
import os
import time

import pytest

from outcomes import exceptions

_out = None
_worst = {}


def pytest_configure(config):
    global _out
    _out = open(os.environ["MARTLET_SUITES_OUTCOMES"], "a", buffering=1)


def pytest_collection_modifyitems(config, items):
    excluded = exceptions(os.environ["MARTLET_SUITES_NAME"], int(os.environ["MARTLET_SUITES_NODES"]), "excluded")
    # Tests that speak to no broker say nothing about one.
    wanted = os.environ.get("MARTLET_SUITES_FIXTURE")
    kept = []
    for item in items:
        if wanted and wanted not in item.fixturenames:
            continue
        reason = next((why for name, why in excluded.items() if item.nodeid.startswith(name)), None)
        if reason is None:
            kept.append(item)
        else:
            _write(item.nodeid, "excluded", 0, reason)
    chosen = set(kept)
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = kept


@pytest.hookimpl(trylast=True)
def pytest_runtest_logstart(nodeid, location):
    _write(nodeid, "started", 0, "")


def pytest_runtest_logreport(report):
    if report.failed:
        _worst[report.nodeid] = ("failed", (report.longreprtext or "").strip()[-4000:])
    elif report.skipped:
        where = report.longrepr
        _worst.setdefault(report.nodeid, ("skipped", where[2] if isinstance(where, tuple) else str(where)))
    if report.when == "teardown":
        outcome, message = _worst.pop(report.nodeid, ("passed", ""))
        _write(report.nodeid, outcome, report.duration, message)


def _write(name, outcome, seconds, message):
    _out.write(json.dumps({"test": name, "outcome": outcome, "at": time.time(), "message": message}) + "\n")
