"""Fixtures: one broker that most tests share, and topic and group names of their own for each test."""

import itertools
import os
import re

import pytest

from broker import Broker, binary

_numbers = itertools.count()


def pytest_collection_modifyitems(config, items):
    """Without a binary nothing here can run, and saying so once is clearer than a failure per test."""
    if not binary().exists() and not config.option.collectonly:
        raise pytest.UsageError(f"{binary()} does not exist; build it first or set MARTLET_BINARY")


@pytest.fixture(scope="session")
def broker():
    with Broker() as broker:
        yield broker
        assert broker.is_running(), f"the broker died during the tests:\n{broker.log()[-4000:]}"
        assert broker.stop() == 0, "a clean stop ends with status 0"


@pytest.fixture
def bootstrap(broker) -> str:
    assert broker.is_running(), "the shared broker has died"
    return broker.bootstrap


@pytest.fixture
def name(request) -> str:
    """Unique, legal as topic, group and client id, and recognizable in the broker's log."""
    plain = re.sub(r"[^a-zA-Z0-9_-]+", "-", request.node.name).strip("-")[:120]
    return f"{plain}-{os.getpid()}-{next(_numbers)}"


@pytest.fixture
def topic(name, bootstrap) -> str:
    """A topic of three partitions."""
    from topics import create

    create(bootstrap, name, partitions=3)
    return name
