"""Without a binary nothing here that needs nodes can run; saying so once is clearer than a failure per test."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "Clients"))

from broker import binary  # noqa: E402


def pytest_collection_modifyitems(config, items):
    if not binary().exists() and not config.option.collectonly:
        raise pytest.UsageError(f"{binary()} does not exist; build it first or set MARTLET_BINARY")
