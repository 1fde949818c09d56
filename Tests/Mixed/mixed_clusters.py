"""Clusters of which some nodes are Apache Kafka's and some Martlet's."""

import os
import subprocess
import tempfile
import uuid
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from kafka.protocol.metadata import MetadataRequest, MetadataResponse

from broker import binary
from clusters import QUICK_RECONNECT, Cluster
from kafka_nodes import MixedNode, wait_until
from load import QUIET
from raw import RawConnection

# Kafka takes no id that begins with a dash.
DIRECTORY_IDS = {number: f"MkU3OEVBNTcwNTJENDM2{letter}" + "g" for number, letter in enumerate("RSTUVW", start=1)}


class MixedCluster(Cluster):
    """`programs` names who runs each node: brokers and controllers in one or, with `roles`, what those say."""

    def __init__(
        self, *programs: str, roles: list[str] | None = None, dynamic: bool = False,
        settings: dict[str, str] | None = None, **arguments,
    ):
        self.programs = programs
        self.roles = roles or ["broker,controller"] * len(programs)
        brokers = sum("broker" in role for role in self.roles)
        copies = min(3, brokers)
        self.dynamic = dynamic
        super().__init__(brokers, settings={
            "offsets.topic.num.partitions": "4", "transaction.state.log.num.partitions": "4",
            "transaction.state.log.min.isr": "1", "share.coordinator.state.topic.num.partitions": "2",
            "share.coordinator.state.topic.min.isr": "1", "share.coordinator.state.topic.replication.factor": str(copies),
            "default.replication.factor": str(copies), "offsets.topic.replication.factor": str(copies),
            "transaction.state.log.replication.factor": str(copies), "num.partitions": "1",
            **(settings or {}),
        }, proxied=False, directory=Path(tempfile.mkdtemp(prefix="martlet-mixed-")), **arguments)

        if dynamic:
            del self.shared["controller.quorum.voters"]
            self.shared["controller.quorum.bootstrap.servers"] = ",".join(node.controller_address for node in self.controllers)
            for node in self.nodes:
                node.settings = {}
                node.configure(self.shared)

    def make_nodes(self, size, controllers, zones) -> list[MixedNode]:
        nodes = []
        for number, (program, role) in enumerate(zip(self.programs, self.roles), start=1):
            node = MixedNode(number, role, zones[(number - 1) % len(zones)], self.directory, self.network)
            node.program = program
            nodes.append(node)
        return nodes

    def format(self) -> None:
        """Dynamic voters are all that are controllers, known to the first one's log by their directories."""
        for node in self.nodes:
            if not self.dynamic or not node.is_controller:
                node.format()
            elif len(self.controllers) == 1:
                node.format("--standalone")
            else:
                node.format("--initial-controllers", self.initial_controllers())

    def initial_controllers(self) -> str:
        return ",".join(f"{node.number}@{node.controller_address}:{DIRECTORY_IDS[node.number]}" for node in self.controllers)

    def start(self, seconds: float = 120) -> "MixedCluster":
        self.format()
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.wait_ready(seconds)
        self.wait_whole(seconds)
        return self

    def wait_whole(self, seconds: float = 60) -> None:
        """By every broker: a client drops the connections to those of which the one it asks has not heard."""
        super().wait_whole(seconds)
        for node in self.brokers:
            if node.is_running and not node.is_paused:
                wait_until(lambda: self.brokers_by(node) == len(self.brokers), f"{node} knows all brokers", seconds)

    def brokers_by(self, node: MixedNode) -> int:
        client = AdminClient({"bootstrap.servers": node.address, "socket.timeout.ms": 10_000, **QUIET, **QUICK_RECONNECT})
        try:
            return len(client.list_topics(timeout=10).brokers)
        except KafkaException:
            return -1

    def create(self, topic: str, partitions: int, copies: int | None = None, **config: str) -> None:
        """Until every broker that serves has heard of it: a client that asks an earlier one would take it for a topic that is not there."""
        super().create(topic, partitions, copies, **config)
        for node in self.brokers:
            if node.is_running and not node.is_paused:
                wait_until(lambda: self.told_by(node, topic) == partitions, f"{node} knows {topic}", 60)

    def told_by(self, node: MixedNode, topic: str) -> int:
        """How many partitions with leaders the broker tells of. Asked by a bare connection: librdkafka's clients may ask another one."""
        host, port = node.address.rsplit(":", 1)
        request = MetadataRequest(version=9, allow_auto_topic_creation=False, topics=[
            MetadataRequest.MetadataRequestTopic(name=topic, topic_id=uuid.UUID(int=0))])
        try:
            with RawConnection(int(port), host) as connection:
                [found] = connection.ask(request, MetadataResponse).topics
        except OSError:
            return -1
        return sum(each.leader_id >= 0 for each in found.partitions)

    def partitions(self, topic: str) -> dict:
        """By some broker that knows the topic: one of the other program may learn of it a little later."""
        return wait_until(lambda: Cluster.partitions(self, topic), f"{topic} is known", 30)

    def numbers_of(self, program: str) -> list[int]:
        return [node.number for node in self.nodes if node.program == program]

    def martlet(self, *arguments, check: bool = True, seconds: float = 90) -> str:
        """What a command of Martlet prints."""
        environment = {**os.environ, "MARTLET_BOOTSTRAP_SERVER": self.bootstrap}
        done = subprocess.run(
            [str(binary()), *map(str, arguments)], capture_output=True, text=True, timeout=seconds, env=environment)
        if check:
            assert done.returncode == 0, f"martlet {arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout
