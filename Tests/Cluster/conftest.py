"""The clusters of most tests of links. Without a binary nothing here that needs nodes can run; saying so once is clearer than a failure per
test."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "Clients"))

from broker import binary  # noqa: E402
from links import destination_cluster, source_cluster  # noqa: E402


@pytest.fixture(scope="module")
def source():
    """One node. Modules that need another source have one of their own by this name, and so of destinations."""
    with source_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def destination(source):
    """One node, which stops before its source does."""
    with destination_cluster(1) as cluster:
        yield cluster


def pytest_collection_modifyitems(config, items):
    if not binary().exists() and not config.option.collectonly:
        raise pytest.UsageError(f"{binary()} does not exist; build it first or set MARTLET_BINARY")
