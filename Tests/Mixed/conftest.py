"""These tests need an Apache Kafka beside the binary: MARTLET_KAFKA names the directory of an unpacked one. Without it all are skipped."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "Cluster"))
sys.path.append(str(Path(__file__).resolve().parents[1] / "Clients"))

from broker import binary  # noqa: E402
from kafka_nodes import KAFKA_DIRECTORY  # noqa: E402


def pytest_collection_modifyitems(config, items):
    if not binary().exists() and not config.option.collectonly:
        raise pytest.UsageError(f"{binary()} does not exist; build it first or set MARTLET_BINARY")
    if KAFKA_DIRECTORY is None:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="MARTLET_KAFKA does not name an Apache Kafka"))
