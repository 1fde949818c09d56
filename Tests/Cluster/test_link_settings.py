"""Links that are told what to do in MirrorMaker 2's words, and filters by pattern."""

import json

import pytest
from confluent_kafka import KafkaException

from commands import martlet, martlet_json
from links import wait_end, wait_mirror
from mirrors import commit, committed
from nodes import wait_until
from test_links import produce


@pytest.fixture
def file(source, destination, tmp_path):
    """A MirrorMaker 2 file for both clusters, with some lines more."""
    def write(*lines: str) -> str:
        path = tmp_path / "mm2.properties"
        path.write_text("\n".join([
            "clusters = A, B", f"A.bootstrap.servers = {source.bootstrap}", f"B.bootstrap.servers = {destination.bootstrap}",
            "A->B.enabled = true", "replication.factor = 1", *lines]) + "\n")
        return str(path)
    return write


def mirrors(destination, name: str) -> list[str]:
    return sorted(each["topic"] for each in martlet_json(destination, "link", "mirrors", name))


def position(cluster, group: str, topic: str) -> int | None:
    """A group's offset; None while its coordinator is only coming up."""
    try:
        return committed(cluster.bootstrap, group, topic)
    except KafkaException:
        return None


def test_a_mirror_maker_file_makes_a_link(source, destination, file):
    for topic in ("orders", "orders.eu.new", "orders.eu.old", "other", "mm2-offsets.B.internal", "B.orders"):
        source.create(topic, 1)
    produce(source, "orders", range(7))
    produce(source, "orders.eu.new", range(3))
    commit(source.bootstrap, "billing", {("orders", 0): 5})
    commit(source.bootstrap, "console-consumer-1", {("orders", 0): 5})
    path = file(
        r"A->B.topics = orders, orders\.eu\..*, B\..*, mm2.*", r"topics.exclude = .*\.old", "sync.group.offsets.enabled = true",
        "A->B.sync.group.offsets.interval.seconds = 1", "refresh.topics.interval.seconds = 1", "offset.lag.max = 7",
        "exactly.once.source.support = enabled")
    shown = martlet_json(destination, "link", "create", "mm2", "--config", path)["translated"]
    became = {each["key"]: each for each in shown}
    assert became["A.bootstrap.servers"]["settings"] == {"bootstrap.servers": source.bootstrap}
    assert became["A->B.topics"]["line"] == 6 and became["A->B.topics"]["settings"]["auto.create.mirror.topics.enable"] == "true"
    assert became["replication.policy.class"]["settings"] == {"cluster.link.prefix": "A."} and became["replication.policy.class"]["isDefault"]
    assert became["offset.lag.max"]["settings"] == {} and "no offset syncs" in became["offset.lag.max"]["remark"]
    assert "none comes twice" in became["exactly.once.source.support"]["remark"]
    assert became["sync.topic.acls.enabled"]["settings"]["acl.sync.enable"] == "true"

    wait_mirror(destination, "A.orders")
    wait_mirror(destination, "A.orders.eu.new")
    wait_end(destination, "A.orders", 7)
    assert mirrors(destination, "mm2") == ["A.orders", "A.orders.eu.new"]
    wait_until(lambda: position(destination, "billing", "A.orders") == 5, "the group's offset is here", 60, 0.2)
    assert committed(destination.bootstrap, "console-consumer-1", "A.orders") < 0
    # The link goes on as any other: topics that come later are mirrored too.
    source.create("orders.eu.later", 2)
    wait_mirror(destination, "A.orders.eu.later")
    martlet(destination, "link", "delete", "mm2", "--force")


def test_single_settings_and_the_same_names(source, destination):
    source.create("plain-a", 1)
    produce(source, "plain-a", range(4))
    source.create("plain-b", 1)
    done = martlet(
        destination, "link", "create", "same", "--bootstrap", source.bootstrap, "--set", "topics=plain-.*", "--set", "topics.exclude=plain-b",
        "--set", "replication.policy.class=org.apache.kafka.connect.mirror.IdentityReplicationPolicy",
        "--set", "refresh.topics.interval.seconds=1")
    assert "the same names on both sides" in done.stdout and "topic.config.sync.ms=1000" in done.stdout
    wait_mirror(destination, "plain-a")
    wait_end(destination, "plain-a", 4)
    assert mirrors(destination, "same") == ["plain-a"]
    martlet(destination, "link", "config", "same", "topics=plain-[ab]", "topics.exclude=nothing", "sync.group.offsets.enabled=true")
    wait_mirror(destination, "plain-b")
    settings = martlet_json(destination, "link", "describe", "same")["link"]["configuration"]
    assert settings["consumer.offset.sync.enable"] == "true" and "cluster.link.prefix" not in settings
    martlet(destination, "link", "delete", "same", "--force")


def test_settings_are_changed_by_a_file_too(source, destination, tmp_path):
    """Passwords are no arguments, which everybody on the machine sees; what is an argument wins."""
    martlet(destination, "link", "create", "by-file", "--bootstrap", source.bootstrap)
    path = tmp_path / "changes.properties"
    path.write_text("topic.config.sync.ms=700\nconsumer.offset.sync.ms=5000\nsasl.password=of-a-file\nsync.group.offsets.enabled=true\n")
    done = martlet(destination, "link", "config", "by-file", "consumer.offset.sync.ms=6000", "--config", path)
    assert "sasl.password" in done.stdout and "of-a-file" not in done.stdout
    settings = martlet_json(destination, "link", "describe", "by-file")["link"]["configuration"]
    assert (settings["topic.config.sync.ms"], settings["consumer.offset.sync.ms"]) == ("700", "6000")
    assert settings["consumer.offset.sync.enable"] == "true" and settings.get("sasl.password") != "of-a-file"
    refused = martlet(destination, "link", "config", "by-file", "--config", tmp_path / "none", check=False)
    assert refused.returncode == 1 and "--config" in refused.stderr
    assert martlet(destination, "link", "config", "by-file", check=False).returncode == 64
    martlet(destination, "link", "delete", "by-file", "--force")


def test_what_a_link_cannot_do_is_said(source, destination, file):
    def refused(*lines: str, arguments=()) -> str:
        done = martlet(destination, "link", "create", "no", "--config", file(*lines), *arguments, check=False)
        assert done.returncode != 0, done.stdout
        return done.stderr

    error = refused("A->B.transforms = mask", "A->B.transforms.mask.drop = value.ssn")
    assert "line 6: A->B.transforms" in error and "martlet mirror run" in error
    assert "martlet mirror run" in refused("topic.config.retention.ms = 5")
    error = refused("B->A.enabled = true")
    assert "A->B, B->A" in error and "--flow" in error
    assert "no flow 'C->B'" in refused(arguments=("--flow", "C->B"))
    assert "look-ahead" in refused("topics = a(?=b)")
    done = martlet(
        destination, "link", "create", "yes", "--dry-run", "--flow", "A->B", "--config",
        file("B->A.enabled = true", "A.consumer.auto.offset.reset = latest", "refresh.topics.enabled = false", "nonsense = 1"))
    assert "line 7: A.consumer.auto.offset.reset" in done.stderr and "begin at the end" in done.stderr
    assert "refresh.topics.enabled" in done.stderr and "nonsense" in done.stderr
    assert "can be made" in done.stdout
    done = martlet(destination, "link", "create", "no", "--bootstrap", source.bootstrap, "--set", "topics.exclude=x", check=False)
    assert done.returncode != 0 and "write topics = .*" in done.stderr


def test_filters_go_by_pattern(source, destination):
    for topic in ("p-eu-1", "p-us-1", "p-as-1"):
        source.create(topic, 1)
    filters = {"topicFilters": [{"name": "p-(eu|us)-[0-9]+", "patternType": "REGEX"}]}
    martlet(
        destination, "link", "create", "patterns", "--bootstrap", source.bootstrap, "--set", "topic.config.sync.ms=500", "--set",
        "auto.create.mirror.topics.enable=true", "--set", f"auto.create.mirror.topics.filters={json.dumps(filters)}")
    wait_mirror(destination, "p-eu-1")
    wait_mirror(destination, "p-us-1")
    source.create("p-us-22", 1)
    wait_mirror(destination, "p-us-22")
    assert mirrors(destination, "patterns") == ["p-eu-1", "p-us-1", "p-us-22"]
    bad = {"topicFilters": [{"name": "(a)\\1", "patternType": "REGEX"}]}
    done = martlet(
        destination, "link", "config", "patterns", f"auto.create.mirror.topics.filters={json.dumps(bad)}", check=False)
    assert done.returncode != 0 and "back references" in done.stderr
    martlet(destination, "link", "delete", "patterns", "--force")
