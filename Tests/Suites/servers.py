"""What the suites run against: one node or three, of Martlet or, to judge a failure, of Apache Kafka (MARTLET_KAFKA)."""

import os
import re
import shutil
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
for folder in ("Cluster", "Clients", "Mixed"):
    sys.path.append(str(TESTS / folder))

from kafka_nodes import KAFKA, KAFKA_DIRECTORY, MARTLET, kafka_program, kafka_release, wait_until  # noqa: E402
from mixed_clusters import MixedCluster  # noqa: E402
from nodes import Node  # noqa: E402

from sources import ROOT, WORK  # noqa: E402

# By the release that a broker is said to be suites choose what they try. Martlet answers what 4.3 does.
VERSIONS = {"kafka-python": "4.3.0", "aiokafka": "4.3.0", "librdkafka": "4.3.0"}


def kafka_version(suite: str, program: str) -> str:
    if set_version := os.environ.get("MARTLET_SUITES_KAFKA_VERSION"):
        return set_version
    return VERSIONS[suite] if program == MARTLET else re.sub("-IV.*", "", kafka_release()) + ".0"


class Servers(MixedCluster):
    """Numbered from 0, as suites take their brokers to be. `listeners` are further ones of the first node, by name with port; the others
    get them on ports of their own. `each` is what one node alone is configured with, by its number; `features` are levels that the cluster
    begins with, such as share.version=1."""

    def __init__(
        self, program: str, count: int, settings: dict[str, str], listeners: dict[str, int] | None = None,
        each: dict[str, dict[str, str]] | None = None, features: tuple[str, ...] = (),
    ):
        self.listeners, self.each = listeners or {}, each or {}
        self.features = [word for feature in features for word in ("--feature", feature)]
        super().__init__(*[program] * count, settings={"transaction.state.log.min.isr": str(max(1, min(3, count) - 1)), **settings})

    def make_nodes(self, *arguments):
        from broker import free_port
        nodes = super().make_nodes(*arguments)
        for number, node in enumerate(nodes):
            node.number = number
            # The racks that librdkafka's suite looks for.
            node.zone = f"RACK{number}"
            node.settings = dict(self.each.get(str(number), {}))
            for name, port in self.listeners.items():
                node.ports[name] = node.published[name] = port if number == 0 else free_port()
        return nodes

    def format(self) -> None:
        for node in self.nodes:
            if node.program == MARTLET:
                # By its own tool alone: no Kafka need be there to say how far it would go.
                Node.format(node, *self.features)
            else:
                node.format(*self.features)

    @property
    def is_secured(self) -> bool:
        """Whether clients have to log in, which those that look whether all is there do not."""
        return "PLAINTEXT:SASL" in self.shared.get("listener.security.protocol.map", "")

    def start(self, seconds: float = 120) -> "Servers":
        self.format()
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.wait_ready(seconds)
        if not self.is_secured:
            self.wait_whole(seconds)
        return self

    def close(self, keep: bool = False) -> None:
        logs = WORK / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        for node in self.nodes:
            (logs / f"{os.environ.get('MARTLET_SUITES_RUN', 'run')}-{node}.log").write_text(node.log())
        super().close(keep)


def secured(protocol: str, users: dict[str, str], administrator: str) -> dict[str, str]:
    """Settings by which clients log in by PLAIN; nodes speak with each other in the clear."""
    entry = "org.apache.kafka.common.security.plain.PlainLoginModule required " \
        f'username="{administrator}" password="{users[administrator]}" ' + " ".join(f'user_{name}="{word}"' for name, word in users.items())
    return {
        "listener.security.protocol.map": f"PLAINTEXT:{protocol},REPLICATION:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN", "listener.name.plaintext.plain.sasl.jaas.config": f"{entry};",
    }


def tools(program: str) -> Path:
    """A directory with bin/ as a Kafka distribution has it, whose tools are those of `program`."""
    from broker import binary
    directory = WORK / f"kafka-{program}"
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "bin").mkdir(parents=True)
    for tool in sorted((ROOT / "bin").glob("kafka-*.sh")):
        if program == MARTLET:
            # Variables of a suite would be taken for settings of Martlet.
            target = f'for name in $(env | sed -n "s/^\\(KAFKA_[A-Z_]*\\)=.*/\\1/p"); do unset $name; done\nMARTLET={binary().resolve()} exec {tool} "$@"'
        else:
            try:
                target = f'exec {kafka_program(tool.stem, tool.name)} "$@"'
            except FileNotFoundError:
                continue
        write_script(directory / "bin" / tool.name, target)
    write_script(
        directory / "bin" / "kafka-run-class.sh",
        f'MARTLET_SUITES_PROGRAM={program} exec {sys.executable} {Path(__file__).with_name("stand_in.py")} "$@"')
    return directory


def write_script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


__all__ = ["KAFKA", "KAFKA_DIRECTORY", "MARTLET", "Servers", "kafka_version", "secured", "tools", "wait_until", "write_script"]
