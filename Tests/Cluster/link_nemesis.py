"""Does bad things to two linked clusters and to the way between them, which is as long as 10, 50 or 150 ms there and back."""

from clusters import Cluster
from nemesis import Nemesis
from network import CLIENT, Network
from nodes import Node
from operations import Recorder

ROUND_TRIPS = (0.010, 0.050, 0.150)


class Distance:
    """The way between the nodes of two clusters."""

    def __init__(self, network: Network, one: Cluster, other: Cluster):
        self.network = network
        self.pairs = [(left.name, right.name) for left in one.nodes for right in other.nodes]
        self.round_trip = ROUND_TRIPS[1]

    def become(self, round_trip: float) -> None:
        self.round_trip = round_trip
        for left, right in self.pairs:
            self.network.shape(left, right, round_trip / 2)
            self.network.shape(right, left, round_trip / 2)

    def heal(self) -> None:
        """Nothing is cut any more, and both are as far away from each other as before."""
        self.network.heal()
        self.become(self.round_trip)


class LinkNemesis(Nemesis):
    """Of the two clusters `source` is the one that is mirrored; they change places with every take-over."""

    def __init__(self, network: Network, source: Cluster, mirror: Cluster, recorder: Recorder, topic: str, seed: int, say=print):
        super().__init__(source, recorder, topic, seed, say)
        self.source, self.mirror = source, mirror
        self.distance = Distance(network, source, mirror)
        self.network = network
        self.faults = {
            "kill": lambda: self.kill([self.some_node()]),
            "kill-source-leader": lambda: self.kill([self.source.leader(topic, self.random.randrange(3))]),
            "kill-mirror-leader": lambda: self.kill([self.mirror.leader(topic, self.random.randrange(3))]),
            "kill-link-coordinator": lambda: self.kill([self.mirror.leader("__cluster_links", 0)]),
            "kill-both-sides": lambda: self.kill([self.random.choice(side.nodes) for side in self.sides]),
            "kill-source": lambda: self.kill(self.source.nodes),
            "kill-mirror": lambda: self.kill(self.mirror.nodes),
            "restart": self.restart,
            "pause": self.pause,
            "pause-link-coordinator": lambda: self.pause(self.mirror.leader("__cluster_links", 0)),
            "cut-link": lambda: self.cut_link(True, True),
            "cut-answers": lambda: self.cut_link(True, False),
            "cut-requests": lambda: self.cut_link(False, True),
            "cut-link-of-one": self.cut_link_of_one,
            "drop-link": self.drop_link,
            "partition": self.cut_off,
        }

    @property
    def sides(self) -> tuple[Cluster, Cluster]:
        return self.source, self.mirror

    def change_places(self) -> None:
        self.source, self.mirror = self.mirror, self.source

    def some_node(self) -> Node:
        return self.random.choice(self.source.nodes + self.mirror.nodes)

    def strike(self, name: str, seconds: float) -> None:
        self.distance.become(self.random.choice(ROUND_TRIPS))
        self.say(f"    {self.distance.round_trip * 1000:.0f} ms there and back")
        super().strike(name, seconds)

    # Faults.

    def pause(self, node: Node | None = None):
        node = node or self.some_node()
        node.pause()
        return str(node), node.resume

    def cut_link(self, from_source: bool, from_mirror: bool):
        sources, mirrors = [node.name for node in self.source.nodes], [node.name for node in self.mirror.nodes]
        if from_source:
            self.network.cut(sources, mirrors, both_ways=False)
        if from_mirror:
            self.network.cut(mirrors, sources, both_ways=False)
        return "both ways" if from_source and from_mirror else "one way", self.distance.heal

    def cut_link_of_one(self):
        node = self.some_node()
        others = self.mirror if node in self.source.nodes else self.source
        self.network.cut([node.name], [other.name for other in others.nodes])
        return str(node), self.distance.heal

    def drop_link(self):
        for left, right in self.distance.pairs:
            self.network.drop_connections(left, right)
        return "all connections", lambda: None

    def cut_off(self):
        """One node, from those of both clusters; clients still reach it or not."""
        node = self.some_node()
        others = [other.name for other in self.source.nodes + self.mirror.nodes if other is not node]
        self.network.cut([node.name], others + ([CLIENT] if self.random.random() < 0.5 else []))
        return str(node), self.distance.heal
