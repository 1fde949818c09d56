"""Whole clusters of real processes on one machine."""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic
from kafka.protocol.metadata import MetadataRequest, MetadataResponse

from load import QUIET
from network import CLIENT, Network
from nodes import CLUSTER_ID, Node, binary, wait_until
from raw import Closed, RawConnection


class Cluster:
    """`size` combined nodes, or with `controllers` as many controllers beside `size` brokers. Zones go round."""

    def __init__(
        self, size: int = 3, controllers: int = 0, zones: tuple[str, ...] = ("a", "b", "c"), settings: dict[str, str] | None = None,
        proxied: bool = True, directory: Path | None = None, cluster_id: str = CLUSTER_ID, network: Network | None = None,
        **of_nodes,
    ):
        """Clusters that share a `network` need different `names` of nodes, and somebody else ends it."""
        self.directory = directory or Path(tempfile.mkdtemp(prefix="martlet-cluster-"))
        self.has_own_network = proxied and network is None
        self.network = Network(self.directory) if self.has_own_network else network
        self.nodes = self.make_nodes(size, controllers, zones, **of_nodes)
        copies = min(3, size)
        voters = ",".join(f"{node.number}@{node.controller_address}" for node in self.controllers)
        self.shared = {
            "controller.quorum.voters": voters, "default.replication.factor": str(copies),
            "offsets.topic.replication.factor": str(copies), "offsets.topic.num.partitions": "5",
            "transaction.state.log.replication.factor": str(copies), "min.insync.replicas": str(max(1, copies - 1)),
            "group.initial.rebalance.delay.ms": "0", **(settings or {}),
        }
        for node in self.nodes:
            node.cluster_id = cluster_id
            node.configure(self.shared)
        self.clean_up = []

    def make_nodes(self, size: int, controllers: int, zones: tuple[str, ...], **of_nodes) -> list[Node]:
        roles = ["controller"] * controllers + ["broker" if controllers else "broker,controller"] * size
        return [
            Node(number, role, zones[(number - 1) % len(zones)], self.directory, self.network, **of_nodes)
            for number, role in enumerate(roles, start=1)
        ]

    @property
    def brokers(self) -> list[Node]:
        return [node for node in self.nodes if node.is_broker]

    @property
    def controllers(self) -> list[Node]:
        return [node for node in self.nodes if node.is_controller]

    @property
    def bootstrap(self) -> str:
        return ",".join(node.address for node in self.brokers)

    def node(self, number: int) -> Node:
        return self.nodes[number - 1]

    def start(self, seconds: float = 60) -> "Cluster":
        for node in self.nodes:
            node.format()
        self.start_nodes(seconds)
        self.wait_whole(seconds)
        return self

    def start_nodes(self, seconds: float = 60) -> None:
        """Starts those that do not run."""
        for node in self.nodes:
            if not node.is_running:
                node.start()
        for node in self.nodes:
            node.wait_ready(seconds)

    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap, "socket.timeout.ms": 10_000, **QUIET, **QUICK_RECONNECT})

    def wait_whole(self, seconds: float = 60) -> None:
        """Every broker is known to clients and every partition has all of its replicas in sync."""
        admin = self.admin()

        missing = "nobody answers"

        def is_whole():
            nonlocal missing
            try:
                metadata = admin.list_topics(timeout=5)
            except Exception as error:
                missing = str(error)
                return False
            partitions = [
                f"{topic.topic}-{each.id}: leader {each.leader}, replicas {each.replicas}, in sync {each.isrs}"
                for topic in metadata.topics.values() for each in topic.partitions.values()
                if each.leader < 0 or len(each.isrs) < len(each.replicas)]
            missing = f"brokers {sorted(metadata.brokers)}; {partitions}"
            return len(metadata.brokers) == len(self.brokers) and not partitions

        try:
            wait_until(is_whole, "the cluster is whole", seconds, pause=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}; at last {missing}") from None

    def create(self, topic: str, partitions: int, copies: int | None = None, **config: str) -> None:
        admin = self.admin()
        new = NewTopic(topic, partitions, copies or min(3, len(self.brokers)), config=config)
        admin.create_topics([new], operation_timeout=30)[topic].result(60)

        def has_leaders() -> bool:
            # A cluster that has just lost nodes may not answer at once.
            with contextlib.suppress(KafkaException):
                found = self.partitions(topic).values()
                return len(found) == partitions and all(each.leader >= 0 for each in found)
            return False

        wait_until(has_leaders, f"{topic} has leaders", 60)
        self.wait_heard(topic)

    def wait_heard(self, topic: str) -> None:
        """Every broker that can be asked knows the topic; one that is cut off from its controller may hear of it much later."""
        def knows(node: Node) -> bool:
            host, port = node.address.split(":")
            with RawConnection(int(port), host, timeout=2) as connection:
                question = MetadataRequest(version=5, topics=[topic], allow_auto_topic_creation=False)
                [found] = connection.ask(question, MetadataResponse).topics
                return found.error_code == 0

        for node in self.brokers:
            if node.is_running and not node.is_paused:
                with contextlib.suppress(OSError, Closed, AssertionError):
                    wait_until(lambda: knows(node), f"{node} knows {topic}", 5, 0.02)

    def partitions(self, topic: str) -> dict:
        found = self.admin().list_topics(topic, timeout=10).topics[topic]
        return found.partitions

    def leader(self, topic: str, partition: int) -> Node:
        def found():
            with contextlib.suppress(KafkaException):
                return max(0, self.partitions(topic)[partition].leader)

        return self.node(wait_until(found, f"{topic}-{partition} has a leader", 60))

    def controller(self) -> Node:
        """The active controller: the leader of the metadata quorum, not the broker that clients are told to ask."""
        def found():
            command = [str(binary()), "quorum", "status", "--json", "-b", self.bootstrap]
            done = subprocess.run(command, capture_output=True, text=True, timeout=30)
            return max(0, json.loads(done.stdout)["leaderId"]) if done.returncode == 0 else None

        return self.node(wait_until(found, "a controller is known"))

    def isolate(self, node: Node, clients_too: bool = True, to_it: bool = True, from_it: bool = True) -> None:
        others = [other.name for other in self.nodes if other is not node] + ([CLIENT] if clients_too else [])
        if to_it:
            self.network.cut(others, [node.name], both_ways=False)
        if from_it:
            self.network.cut([node.name], others, both_ways=False)

    def split(self, zone: str) -> None:
        """A zone's nodes and those of the others do not reach each other; clients reach all."""
        inside = [node.name for node in self.nodes if node.zone == zone]
        self.network.cut(inside, [node.name for node in self.nodes if node.zone != zone])

    def distance(self, seconds: float, bandwidth: int = 0) -> None:
        """Nodes of different zones are this far from each other, one way."""
        for one in self.nodes:
            for other in self.nodes:
                if one.zone != other.zone:
                    self.network.shape(one.name, other.name, seconds, bandwidth)

    def close(self, keep: bool = False) -> None:
        for node in self.nodes:
            if node.is_running:
                node.resume()
                node.process.kill()
                node.process.wait()
        for action in self.clean_up:
            action()
        if self.has_own_network:
            self.network.close()
        if keep or os.environ.get("KEEP_DATA"):
            print(f"data kept in {self.directory}")
        else:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> "Cluster":
        try:
            return self.start()
        except BaseException:
            for node in self.nodes:
                print(f"--- {node}\n{node.log()[-2000:]}")
            self.close()
            raise

    def __exit__(self, *_) -> None:
        self.close()


# For tools of the tests; what is measured runs with the clients' defaults.
QUICK_RECONNECT = {"reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200}
