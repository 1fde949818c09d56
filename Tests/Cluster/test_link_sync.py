"""What links keep in step beside the data: access control, users, quotas, groups. The source is one node that knows who asks, the destination
three; what operators made at the destination stays as they made it."""

import base64
import json

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AclBinding, AclBindingFilter, AclOperation, AclPermissionType, AdminClient, ResourcePatternType, ResourceType)

from clusters import Cluster
from commands import martlet, martlet_json
from kafka_tools import tool
from links import DESTINATION_ID, SOURCE_ID, link, source_cluster, wait_end, wait_mirror
from load import QUIET
from nodes import free_port, wait_until
from test_links import produce

PASSWORD = "swordfish"
SHARED = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users": "User:ANONYMOUS",
    "share.coordinator.state.topic.num.partitions": "3", "offsets.topic.num.partitions": "6",
}


class LoginCluster(Cluster):
    """Whoever comes in clear text is an administrator; behind TLS with a password one is who one is."""

    def __init__(self, size: int, cluster_id: str):
        copies = str(min(3, size))
        super().__init__(size, proxied=False, cluster_id=cluster_id, settings={
            **SHARED, "share.coordinator.state.topic.replication.factor": copies, "share.coordinator.state.topic.min.isr": "1"})
        certificates = self.directory / "certs"
        martlet(self, "cert", "ca", "--directory", certificates)
        self.authority = certificates / "ca.pem"
        for node in self.nodes:
            martlet(self, "cert", "node", node.name, "--host", "127.0.0.1", "--directory", certificates)
            node.secure_port = free_port()
            node.settings = {
                **node.settings,
                **{key: f"{node.settings[key]},SECURE://127.0.0.1:{node.secure_port}" for key in ("listeners", "advertised.listeners")},
                "listener.security.protocol.map": node.settings["listener.security.protocol.map"] + ",SECURE:SASL_SSL",
                "listener.name.secure.sasl.enabled.mechanisms": "SCRAM-SHA-256,SCRAM-SHA-512",
                "ssl.keystore.type": "PEM", "ssl.keystore.location": str(certificates / f"{node.name}.pem"),
            }
            node.properties.write_text("".join(f"{key}={value}\n" for key, value in node.settings.items()))

    @property
    def secure(self) -> str:
        return f"127.0.0.1:{self.nodes[0].secure_port}"

    def can_log_in(self, user: str, password: str) -> bool:
        errors = []
        admin = AdminClient({
            "bootstrap.servers": self.secure, "error_cb": errors.append, "security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-256", "sasl.username": user,
            "sasl.password": password, "ssl.ca.location": str(self.authority), **QUIET})

        def answer():
            if any(error.code() == KafkaError._AUTHENTICATION for error in errors):
                return False, "refused"
            try:
                admin.list_topics(timeout=0.5)
                return True, "taken"
            except KafkaException:
                admin.poll(0.1)
                return None

        return wait_until(answer, f"{user} is let in or not", 30)[0]

    def set_password(self, user: str, password: str) -> None:
        file = self.directory / "password"
        file.write_text(password)
        martlet(self, "user", "set", user, "--password-file", file)


@pytest.fixture(scope="module")
def source():
    with LoginCluster(1, SOURCE_ID) as found:
        martlet(found, "cluster", "features", "--set", "share.version=1")
        yield found


@pytest.fixture(scope="module")
def destination(source):
    with LoginCluster(3, DESTINATION_ID) as found:
        martlet(found, "cluster", "features", "--set", "share.version=1")
        yield found


def synchronization(destination, name: str, kind: str) -> dict:
    found = martlet_json(destination, "link", "describe", name)["synchronizations"]
    return next((each for each in found if each["kind"] == kind), {})


def wait_error(destination, name: str, kind: str, words: str) -> None:
    wait_until(lambda: words in synchronization(destination, name, kind).get("error", ""), f"{kind} of {name} say: {words}", 30, 0.2)


def rules(cluster: Cluster) -> set[tuple[str, str, str]]:
    """Principals, names of resources and pattern types."""
    everything = AclBindingFilter(
        ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY)
    admin = cluster.admin()
    return {(each.principal, each.name, each.resource_pattern_type.name) for each in admin.describe_acls(everything).result(30)}


def allow(cluster: Cluster, principals, topic: str, pattern=ResourcePatternType.LITERAL, operation=AclOperation.READ) -> list[AclBinding]:
    bindings = [AclBinding(
        ResourceType.TOPIC, topic, pattern, f"User:{principal}", "*", operation, AclPermissionType.ALLOW) for principal in principals]
    admin = cluster.admin()
    for future in admin.create_acls(bindings).values():
        future.result(30)
    return bindings


def disallow(cluster: Cluster, bindings: list[AclBinding]) -> None:
    filters = [AclBindingFilter(
        each.restype, each.name, each.resource_pattern_type, each.principal, each.host, each.operation, each.permission_type)
        for each in bindings]
    admin = cluster.admin()
    for future in admin.delete_acls(filters).values():
        future.result(30)


def drift(destination, name: str, *kinds: str) -> list[str]:
    arguments = [argument for kind in kinds for argument in ("--only", kind)]
    return martlet(destination, "link", "drift", name, *arguments, check=False).stdout.splitlines()


def test_access_control_follows_and_what_operators_made_stays(source, destination):
    kept = allow(source, ["alice"], "orders") + allow(source, ["bob"], "pay", ResourcePatternType.PREFIXED, AclOperation.WRITE)
    allow(source, ["eve"], "orders", operation=AclOperation.DELETE)
    allow(source, ["all"], "*")
    # One by hand that the source has too, and one that it has not.
    allow(destination, ["hand"], "orders")
    both = allow(source, ["twice"], "orders")
    allow(destination, ["twice"], "orders")
    filters = json.dumps({"aclFilters": [
        {"resourceFilter": {"resourceType": "topic", "patternType": "any"}, "accessFilter": {"operation": "read"}},
        {"resourceFilter": {"resourceType": "topic"}, "accessFilter": {"operation": "write", "permissionType": "allow"}}]})
    link(destination, source, "rights", acl_sync_enable="true", acl_sync_ms=1000, acl_filters=filters, availability_check_ms=1000)
    expected = {("User:alice", "orders", "LITERAL"), ("User:bob", "pay", "PREFIXED"), ("User:all", "*", "LITERAL")}
    by_hand = {("User:hand", "orders", "LITERAL"), ("User:twice", "orders", "LITERAL")}
    wait_until(lambda: rules(destination) == expected | by_hand, "the source's rules are here", 30, 0.1)
    wait_until(lambda: synchronization(destination, "rights", "acls").get("own") == 3, "what the link made is recorded", 30, 0.2)
    status = synchronization(destination, "rights", "acls")
    assert status["error"] == "" and status["lastSuccess"] > 0 and (status["atSource"], status["created"]) == (4, 3)
    assert drift(destination, "rights", "acls") == ["acls User:hand from *: ALLOW READ on LITERAL TOPIC orders: nothing at the source, there here"]

    # A prefix goes in front of topics, and what holds for all of them holds for all that have it.
    link(
        destination, source, "prefixed", cluster_link_prefix="eu.", acl_sync_enable="true", acl_sync_ms=1000,
        acl_filters=json.dumps({"aclFilters": [{"accessFilter": {"operation": "read"}}]}))
    moved = {("User:alice", "eu.orders", "LITERAL"), ("User:all", "eu.", "PREFIXED"), ("User:twice", "eu.orders", "LITERAL")}
    wait_until(lambda: rules(destination) == expected | by_hand | moved, "rules are here under the prefix", 30, 0.1)

    # Gone there, gone here; but for what was made by hand here.
    disallow(source, kept + both)
    left = {("User:all", "*", "LITERAL"), ("User:all", "eu.", "PREFIXED")}
    wait_until(lambda: rules(destination) == left | by_hand, "what is gone at the source is gone here", 30, 0.1)
    # Taken away here by hand it comes back; a link that goes leaves what it made.
    disallow(destination, [AclBinding(
        ResourceType.TOPIC, "*", ResourcePatternType.LITERAL, "User:all", "*", AclOperation.READ, AclPermissionType.ALLOW)])
    wait_until(lambda: synchronization(destination, "rights", "acls")["created"] == 4, "it is made again", 30, 0.2)
    wait_until(lambda: rules(destination) == left | by_hand, "it comes back", 30, 0.1)
    martlet(destination, "link", "delete", "prefixed")
    assert rules(destination) == left | by_hand
    text = martlet(destination, "link", "describe", "rights").stdout
    assert "SYNCHRONISED" in text and "acls" in text
    metrics = destination.leader("__cluster_links", 0).get("/metrics")[1]
    for sample in ('own_items{link="rights",kind="acls"} 1', 'removed_total{link="rights",kind="acls"} 2', 'error{link="rights",kind="acls"} 0'):
        assert f"martlet_link_sync_{sample}" in metrics, metrics
    assert 'martlet_link_sync_last_success_timestamp_seconds{link="rights",kind="acls"}' in metrics


def test_another_coordinator_goes_on_where_one_died(source, destination):
    """Killed while it creates, and while it removes: what one made another takes away."""
    made = []

    def count() -> int:
        return sum(principal.startswith("User:many-") for principal, _, _ in rules(destination))

    def kill_in_the_middle(first, rest, has_begun, goal: int):
        first()
        wait_until(lambda: has_begun(count()), "it has begun", 30, 0.01)
        node = destination.leader("__cluster_links", 0)
        node.kill()
        rest()
        wait_until(lambda: count() == goal, f"there are {goal} rules", 60, 0.1)
        node.start().wait_ready()
        destination.wait_whole()

    def make(names):
        made.extend(allow(source, [f"many-{number}" for number in names], "orders"))

    kill_in_the_middle(lambda: make(range(400)), lambda: make(range(400, 600)), lambda count: count > 0, 600)
    kill_in_the_middle(lambda: disallow(source, made[:400]), lambda: disallow(source, made[400:]), lambda count: count < 600, 0)
    assert {("User:hand", "orders", "LITERAL"), ("User:all", "*", "LITERAL")} <= rules(destination)
    wait_until(lambda: synchronization(destination, "rights", "acls").get("own") == 1, "what is gone is not recorded any more", 30, 0.2)


def test_users_come_with_their_passwords_over_tls_only(source, destination):
    source.set_password("frank", PASSWORD)
    source.set_password("linker", "link-secret")
    source.set_password("grace", "of the source")
    destination.set_password("grace", "of the destination")
    filters = json.dumps({"userFilters": [{"name": "*"}, {"name": "linker", "filterType": "EXCLUDE"}]})
    link(destination, source, "people", user_sync_enable="true", user_sync_ms=1000, user_filters=filters)
    wait_error(destination, "people", "users", "over encrypted connections only")
    assert not destination.can_log_in("frank", PASSWORD)
    login = {
        "bootstrap.servers": source.secure, "security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-256", "sasl.username": "linker",
        "sasl.password": "link-secret", "ssl.truststore.type": "PEM", "ssl.truststore.location": source.authority}
    martlet(destination, "link", "config", "people", *[f"{key}={value}" for key, value in login.items()])
    wait_error(destination, "people", "users", "uthoriz")
    martlet(source, "acl", "add", "--principal", "User:linker", "--operation", "alter", "--cluster")
    wait_until(lambda: destination.can_log_in("frank", PASSWORD), "the password holds here", 30, 0.2)
    wait_until(lambda: synchronization(destination, "people", "users").get("foreign") == 2, "grace is another one here", 30, 0.2)
    assert destination.can_log_in("grace", "of the destination") and not destination.can_log_in("grace", "of the source")
    status = synchronization(destination, "people", "users")
    assert (status["error"], status["own"], status["created"]) == ("", 2, 2)

    source.set_password("frank", "another")
    wait_until(lambda: destination.can_log_in("frank", "another"), "the password follows", 30, 0.2)
    assert not destination.can_log_in("frank", PASSWORD)
    martlet(source, "user", "delete", "frank")
    wait_until(lambda: not destination.can_log_in("frank", "another"), "the user is gone", 30, 0.2)
    users = {each["user"] for each in martlet_json(destination, "user", "list")}
    assert users == {"grace"}, "neither those that are filtered out nor those that are gone"

    # Where nobody is asked for rights, nobody gets them.
    with source_cluster() as bare:
        link(destination, bare, "bare", user_sync_enable="true", user_sync_ms=1000)
        wait_error(destination, "bare", "users", "without authorizer.class.name")
        martlet(destination, "link", "delete", "bare")

    # Where it must be, without encryption too.
    martlet(
        destination, "link", "config", "people", f"bootstrap.servers={source.bootstrap}", "security.protocol=PLAINTEXT")
    wait_error(destination, "people", "users", "user.sync.plaintext.enable")
    martlet(destination, "link", "config", "people", "user.sync.plaintext.enable=true")
    source.set_password("heidi", PASSWORD)
    wait_until(lambda: destination.can_log_in("heidi", PASSWORD), "the password holds here", 30, 0.2)

    # Neither logs nor the record of what links made have anything to guess passwords by.
    for node in source.nodes + destination.nodes:
        written = node.log().encode() + b"".join(path.read_bytes() for path in node.data.glob("__cluster_links-0/*.log"))
        for word in (b"storedKey", b"serverKey", b'"salt"', PASSWORD.encode(), base64.b64encode(PASSWORD.encode())):
            assert word not in written, f"{node}: {word}"


def test_quotas_follow_and_what_operators_set_stays(source, destination):
    martlet(source, "quota", "set", "--user", "alice", "producer_byte_rate=1048576", "request_percentage=12.5")
    martlet(source, "quota", "set", "--default-client-id", "consumer_byte_rate=2097152")
    martlet(source, "quota", "set", "--user", "hand", "producer_byte_rate=1000")
    martlet(source, "quota", "set", "--ip", "10.0.0.7", "connection_creation_rate=5")
    martlet(destination, "quota", "set", "--user", "hand", "producer_byte_rate=2000")
    filters = json.dumps({"quotaFilters": [{"name": "*"}, {"name": "ip:", "patternType": "PREFIXED", "filterType": "EXCLUDE"}]})
    link(destination, source, "limits", quota_sync_enable="true", quota_sync_ms=1000, quota_filters=filters)

    def differences() -> list[str]:
        return drift(destination, "limits", "quotas")

    hand = "quotas user hand: producer_byte_rate: 1000 at the source, 2000 here"
    wait_until(lambda: differences() == [hand], "all but what was set by hand is the same", 30, 0.2)
    assert "10.0.0.7" not in martlet(destination, "quota", "list", "--json").stdout
    martlet(source, "quota", "set", "--user", "alice", "producer_byte_rate=4194304")
    martlet(source, "quota", "delete", "--default-client-id")
    wait_until(lambda: differences() == [hand], "changes follow", 30, 0.2)
    assert "2097152" not in martlet(destination, "quota", "list", "--json").stdout
    # What an operator changes here is his from then on.
    martlet(destination, "quota", "set", "--user", "alice", "request_percentage=50")
    wait_until(lambda: synchronization(destination, "limits", "quotas").get("foreign") == 2, "it is somebody else's now", 30, 0.2)
    martlet(source, "quota", "delete", "--user", "alice")
    wait_until(lambda: synchronization(destination, "limits", "quotas").get("atSource") == 1, "the deletion was seen", 30, 0.2)
    wait_until(
        lambda: differences() == ["quotas user alice: request_percentage: nothing at the source, 50 here", hand], "his stays", 30, 0.2)


def commit(cluster: Cluster, group: str, topic: str, offset: int) -> None:
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": group, "enable.auto.commit": False, **QUIET})
    consumer.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
    consumer.close()


def groups(cluster: Cluster) -> set[str]:
    return {each["group"] for each in martlet_json(cluster, "group", "list")}


def share_offset(cluster: Cluster, group: str) -> str:
    described = tool("share-groups", "--describe", "--group", group, "--offsets", bootstrap=cluster.bootstrap)
    rows = [line.split() for line in described.lines]
    column = next((row.index("START-OFFSET") for row in rows if "START-OFFSET" in row), None)
    return next((row[column] for row in rows if row and row[0] == group), "")


def reset_share_offset(cluster: Cluster, group: str, topic: str, where: str) -> None:
    tool("share-groups", "--reset-offsets", "--group", group, "--topic", topic, where, "--execute", bootstrap=cluster.bootstrap)


def test_groups_are_deleted_with_the_sources_and_share_groups_come_along(source, destination):
    source.create("read", 1)
    produce(source, "read", range(100))
    link(
        destination, source, "groups", consumer_offset_sync_enable="true", consumer_offset_sync_ms=1000, share_offset_sync_enable="true",
        share_offset_sync_ms=1000, group_delete_sync_enable="true")
    martlet(destination, "link", "mirror", "groups", "read")
    wait_mirror(destination, "read")
    wait_end(destination, "read", 100)
    commit(destination, "hand", "read", 3)
    for group in ("hand", "gone", "stays", "both"):
        commit(source, group, "read", 42)
    reset_share_offset(source, "workers", "read", "--to-latest")
    wait_until(lambda: groups(destination) >= {"hand", "gone", "stays", "both", "workers"}, "the groups are here", 30, 0.2)
    wait_until(lambda: share_offset(destination, "workers") == "100", "the share group stands where it stands there", 30, 0.2)
    wait_until(lambda: drift(destination, "groups", "groups") == ["Nothing differs."], "nothing differs", 30, 0.2)
    reset_share_offset(source, "workers", "read", "--to-earliest")
    wait_until(lambda: share_offset(destination, "workers") == "0", "it follows back too", 30, 0.2)

    # With members here a group is nobody's but theirs.
    wait_until(lambda: synchronization(destination, "groups", "offsets")["own"] == 3, "those that it made are recorded", 30, 0.2)
    before = synchronization(destination, "groups", "offsets")
    wait_until(lambda: synchronization(destination, "groups", "offsets")["lastRun"] > before["lastRun"] + 2_000, "rounds go by", 30, 0.2)
    after = synchronization(destination, "groups", "offsets")
    assert [after[key] for key in ("created", "changed")] == [before[key] for key in ("created", "changed")], "nothing is written anew"
    # What was read here too is not the link's to delete.
    destination.create("local", 1)
    commit(destination, "both", "local", 0)
    reader = Consumer({"bootstrap.servers": destination.bootstrap, "group.id": "stays", "auto.offset.reset": "earliest", **QUIET})
    reader.subscribe(["read"])
    assert wait_until(lambda: reader.poll(1), "it reads", 30).offset() == 42
    wait_until(lambda: synchronization(destination, "groups", "offsets")["own"] == 2, "the link lets go of it", 30, 0.2)
    reader.close()
    martlet(source, "group", "delete", "hand", "gone", "stays", "both", "--yes")
    tool("share-groups", "--delete", "--group", "workers", bootstrap=source.bootstrap)
    wait_until(lambda: not groups(destination) & {"gone", "workers"}, "they are deleted here too", 30, 0.2)
    assert groups(destination) >= {"hand", "stays", "both"}, "one was here before, one was used here, one has read what is no mirror"
    for kind in ("offsets", "share-offsets"):
        wait_until(lambda: synchronization(destination, "groups", kind)["removed"] == 1, f"{kind}: it is counted", 30, 0.2)
        assert synchronization(destination, "groups", kind)["error"] == ""


def test_mirrors_have_as_many_replicas_as_they_are_told(source, destination):
    source.create("copied", 1)
    source.create("copied-by-setting", 1)
    refused = martlet(destination, "link", "mirror", "groups", "copied", "--replication-factor", "4", check=False)
    assert refused.returncode == 1 and "there are 3 brokers" in refused.stderr
    martlet(destination, "link", "mirror", "groups", "copied", "--replication-factor", "2")
    martlet(destination, "link", "config", "groups", "mirror.replication.factor=1")
    martlet(destination, "link", "mirror", "groups", "copied-by-setting")
    for topic, copies in (("copied", 2), ("copied-by-setting", 1), ("read", 3)):
        wait_mirror(destination, topic)
        assert len(destination.partitions(topic)[0].replicas) == copies


def test_bad_settings_say_what_is_wrong(source, destination):
    def refused(*settings: str) -> str:
        done = martlet(destination, "link", "config", "groups", *settings, check=False)
        assert done.returncode != 0
        return done.stderr

    assert "acl.filters" in refused('acl.filters={"aclFilters":[{"accessFilter":{"operation":"reed"}}]}')
    assert "user.filters" in refused("user.filters=[]")
    assert "acl.sync.ms" in refused("acl.sync.ms=10")
    assert "mirror.replication.factor" in refused("mirror.replication.factor=0")
    # Another cluster under the source's address lacks everything: nothing is taken away because of it.
    quotas = martlet(destination, "quota", "list").stdout
    martlet(destination, "link", "config", "limits", f"bootstrap.servers={destination.bootstrap}")
    wait_error(destination, "limits", "quotas", f"the source is cluster {DESTINATION_ID} now")
    assert martlet(destination, "quota", "list").stdout == quotas
    # A source that is away is said to be, and nothing is taken away because of it.
    before = rules(destination)
    source.node(1).kill()
    wait_error(destination, "rights", "acls", "the source")
    assert rules(destination) == before
    source.node(1).start().wait_ready()
    wait_until(lambda: synchronization(destination, "rights", "acls")["error"] == "", "it goes on by itself", 60, 0.2)
