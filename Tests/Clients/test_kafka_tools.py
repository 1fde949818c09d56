"""Kafka's own tool names over the one binary: the lines that scripts parse, and the statuses that they look at. What is expected here was
printed by the tools of Apache Kafka 4.1; `Tests/Mixed/test_kafka_tools.py` compares with those themselves."""

import json
import re
import signal
import subprocess

import pytest

from broker import Broker, binary, free_port, wait_until
from kafka_tools import SCRIPTS, script_names, tool

NAMES = [
    "acls", "broker-api-versions", "cluster", "configs", "console-consumer", "console-producer", "consumer-groups", "consumer-perf-test",
    "delegation-tokens", "delete-records", "dump-log", "features", "get-offsets", "leader-election", "log-dirs", "metadata-quorum",
    "producer-perf-test", "reassign-partitions", "server-start", "share-groups", "storage", "streams-groups", "topics",
    "transactions",
]


@pytest.fixture
def run(bootstrap):
    return lambda name, *arguments, **options: tool(name, *arguments, bootstrap=bootstrap, **options)


@pytest.fixture
def records(run, topic):
    """Twenty records with keys in one partition of a topic."""
    run("console-producer", "--topic", topic, "--property", "parse.key=true", "--property", "key.separator=:",
        stdin="".join(f"key:{number}\n" for number in range(20)))
    return topic


def consumed(run, topic, group):
    """Reads everything as a member of a group, so that the group has offsets."""
    return run("console-consumer", "--topic", topic, "--group", group, "--from-beginning", "--max-messages", 20, "--timeout-ms", 20_000)


# The scripts


def test_every_name_has_a_script():
    assert script_names() == [f"kafka-{name}.sh" for name in NAMES]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "server-start"])
def test_help_says_what_the_options_are(name):
    brief = name in ["cluster", "features", "metadata-quorum", "producer-perf-test", "storage", "transactions"]
    done = tool(name, "--help", status=0 if brief else 1)
    text = done if brief else done.errors
    assert "--" in text and "Description" in text


def test_a_mistake_is_told_with_the_options(run):
    done = run("topics", "--lst", status=1)
    assert done == "" and done.errors.startswith("lst is not a recognized option\n")
    assert run("topics", "--list", "--create", status=1).errors.startswith("Command must include exactly one action: --list, --describe")
    assert run("topics", "--create", status=1).errors.startswith('Missing required argument "[topic]"\n')
    assert run("topics", "--create", "--topic", "t", "--partitions", "x", status=1).errors.startswith(
        "Cannot parse argument 'x' of option partitions\n")
    assert tool("topics", "--list", status=1).errors.startswith("--bootstrap-server must be specified")


def test_options_in_every_form(run, topic):
    assert run(f"topics", "--list", f"--topic={topic}").lines == [topic]
    assert run("topics", "-list", "-topic", topic).lines == [topic]


# Topics


def test_topics(run, name):
    # The tool warns of names with underscores.
    name = name.replace("_", "-")
    assert run("topics", "--create", "--topic", name, "--partitions", 2, "--config", "retention.ms=60000") == f"Created topic {name}.\n"
    again = run("topics", "--create", "--topic", name, status=1)
    assert again == f"Error while executing topic command : Topic '{name}' already exists.\n"
    assert f"org.apache.kafka.common.errors.TopicExistsException: Topic '{name}' already exists." in again.errors
    assert run("topics", "--create", "--topic", name, "--if-not-exists") == ""
    assert name in run("topics", "--list").lines
    head, *partitions = run("topics", "--describe", "--topic", name).lines
    assert re.fullmatch(
        rf"Topic: {name}\tTopicId: [\w-]{{22}}\tPartitionCount: 2\tReplicationFactor: 1\tConfigs: .*retention\.ms=60000.*", head)
    assert partitions == [
        f"\tTopic: {name}\tPartition: {number}\tLeader: 1\tReplicas: 1\tIsr: 1\tElr: \tLastKnownElr: " for number in range(2)]
    run("topics", "--alter", "--topic", name, "--partitions", 3)
    fewer = run("topics", "--alter", "--topic", name, "--partitions", 1, status=1)
    assert fewer == f"Error while executing topic command : The topic {name} currently has 3 partition(s); 1 would not be an increase.\n"
    assert run("topics", "--describe", "--topic", name, "--under-replicated-partitions") == ""
    assert run("topics", "--describe", "--topic", name, "--at-min-isr-partitions").lines[0].startswith(f"\tTopic: {name}\tPartition: 0")
    assert run("topics", "--delete", "--topic", f"{name[:-1]}.") == ""
    gone = run("topics", "--delete", "--topic", name, status=1)
    assert gone == f"Error while executing topic command : Topic '{name}' does not exist as expected\n"
    assert run("topics", "--delete", "--topic", name, "--if-exists") == ""


def test_a_topic_placed_by_hand(run, name):
    run("topics", "--create", "--topic", name, "--replica-assignment", "1,1,1")
    assert "PartitionCount: 3\tReplicationFactor: 1" in run("topics", "--describe", "--topic", name)
    twice = run("topics", "--create", "--topic", f"{name}-2", "--replica-assignment", "1:1", status=1)
    assert "Partition replica lists may not contain duplicate entries: 1" in twice


# Records


def test_records_come_back_in_every_form(run, records):
    read = run("console-consumer", "--topic", records, "--from-beginning", "--max-messages", 2, "--property", "print.key=true",
               "--property", "print.offset=true", "--property", "print.partition=true", "--property", "print.timestamp=true",
               "--property", "print.headers=true", "--property", "key.separator=|")
    assert re.fullmatch(r"CreateTime:\d+\|Partition:\d\|Offset:0\|NO_HEADERS\|key\|0", read.lines[0])
    assert read.errors == "Processed a total of 2 messages\n"
    assert run("console-consumer", "--topic", records, "--from-beginning", "--max-messages", 20).lines == [str(n) for n in range(20)]


def test_headers_and_nulls(run, topic):
    run("console-producer", "--topic", topic, "--property", "parse.headers=true", "--property", "parse.key=true",
        "--property", "null.marker=NULL", "--sync", stdin="h1:v1,h2:NULL\tk\tv\nh3:x\tNULL\tNULL\n")
    read = run("console-consumer", "--topic", topic, "--from-beginning", "--max-messages", 2, "--property", "print.key=true",
               "--property", "print.headers=true")
    assert sorted(read.lines) == ["h1:v1,h2:null\tk\tv", "h3:x\tnull\tnull"]


def test_a_line_without_a_key_is_an_error(run, topic):
    done = run("console-producer", "--topic", topic, "--property", "parse.key=true", stdin="a\tb\nno key\n", status=1)
    assert "No key separator found on line number 2: 'no key'" in done.errors
    ignored = ["--property", "parse.key=true", "--property", "ignore.error=true"]
    run("console-producer", "--topic", topic, *ignored, stdin="no key\n")
    assert sorted(run("console-consumer", "--topic", topic, "--from-beginning", "--max-messages", 2).lines) == ["b", "no key"]


def test_one_partition_from_an_offset(run, records):
    [partition] = [line.split(":")[1] for line in run("get-offsets", "--topic", records).lines if line.endswith(":20")]
    read = run("console-consumer", "--topic", records, "--partition", partition, "--offset", 17, "--max-messages", 3)
    assert read.lines == ["17", "18", "19"]
    wrong = run("console-consumer", "--topic", records, "--partition", partition, "--offset", "x", status=1)
    assert wrong.errors.startswith("The provided offset value 'x' is incorrect.")
    both = run("console-consumer", "--topic", records, "--partition", 0, "--group", "g", status=1)
    assert both.errors.startswith("Options group and partition cannot be specified together.")


def test_a_time_without_records_ends_the_consumer(run, records):
    done = run("console-consumer", "--topic", records, "--timeout-ms", 500)
    assert done == "" and "org.apache.kafka.common.errors.TimeoutException" in done.errors
    assert done.errors.endswith("Processed a total of 0 messages\n")


def test_topics_by_a_pattern_and_deserializers(run, records):
    read = run("console-consumer", "--include", f"{records[:-1]}.", "--from-beginning", "--max-messages", 20)
    assert len(read.lines) == 20
    lengths = run("console-consumer", "--topic", records, "--from-beginning", "--max-messages", 1, "--value-deserializer",
                  "org.apache.kafka.common.serialization.StringDeserializer")
    assert lengths.lines == ["0"]


def test_compression_without_a_name_is_gzip(run, topic, broker):
    run("console-producer", "--topic", topic, "--compression-codec", stdin="x" * 1000 + "\n")
    dumped = "".join(tool("dump-log", "--files", path) for path in broker.data.glob(f"{topic}-*/*.log"))
    assert "compresscodec: gzip" in dumped


def test_the_consumer_ends_at_a_signal_and_commits(bootstrap, run, records, name):
    command = [str(SCRIPTS / "kafka-console-consumer.sh"), "--bootstrap-server", bootstrap, "--topic", records, "--group", name,
               "--from-beginning"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={"MARTLET": str(binary()), "PATH": "/bin:/usr/bin"})
    try:
        assert [process.stdout.readline() for _ in range(20)] == [f"{number}\n" for number in range(20)]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130 and errors == "Processed a total of 20 messages\n"
    rows = run("consumer-groups", "--describe", "--group", name).lines
    assert any(re.fullmatch(rf"{name} +{records} +\d +20 +20 +0 +- +- +-", row) for row in rows)


# Groups


def test_groups(run, records, name):
    consumed(run, records, name)
    assert name in run("consumer-groups", "--list").lines
    listed = run("consumer-groups", "--list", "--state", "--type")
    assert re.match(r"GROUP +TYPE +STATE +$", listed.lines[0])
    assert any(re.fullmatch(rf"{name} +Classic +Empty +", line) for line in listed.lines)
    described = run("consumer-groups", "--describe", "--group", name)
    assert described.errors == f"\nConsumer group '{name}' has no active members.\n"
    assert described.lines[0] == ""
    assert described.lines[1].split() == [
        "GROUP", "TOPIC", "PARTITION", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "CONSUMER-ID", "HOST", "CLIENT-ID"]
    assert [name, records, "20", "20", "0", "-", "-", "-"] in [
        [*line.split()[:2], *line.split()[3:]] for line in described.lines[2:]]
    state = run("consumer-groups", "--describe", "--group", name, "--state").lines
    assert state[1].split()[-1] == "#MEMBERS" and state[2].split()[-2:] == ["Empty", "0"]
    assert run("consumer-groups", "--describe", "--group", name, "--members").lines[1].split() == [
        "GROUP", "CONSUMER-ID", "HOST", "CLIENT-ID", "#PARTITIONS"]
    unknown = run("consumer-groups", "--describe", "--group", f"{name}-x")
    assert unknown.startswith(
        "\nError: Executing consumer group command failed due to org.apache.kafka.common.errors.GroupIdNotFoundException: ")
    assert run("consumer-groups", "--delete", "--group", name) == (
        f"Deletion of requested consumer groups ('{name}') was successful.\n")
    assert run("consumer-groups", "--delete", "--group", name) == (
        f"\nError: Deletion of some consumer groups failed:\n* Group '{name}' could not be deleted due to: "
        "org.apache.kafka.common.errors.GroupIdNotFoundException: The group id does not exist.\n")


def test_a_group_with_a_member(bootstrap, run, records, name):
    command = [str(SCRIPTS / "kafka-console-consumer.sh"), "--bootstrap-server", bootstrap, "--topic", records, "--group", name]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={"MARTLET": str(binary()), "PATH": "/bin:/usr/bin"})
    try:
        def stable():
            lines = run("consumer-groups", "--describe", "--group", name, "--state").lines
            return len(lines) > 2 and lines[2].split()[-2:] == ["Stable", "1"]

        wait_until(stable, "the member has joined")
        members = run("consumer-groups", "--describe", "--group", name, "--members", "--verbose").lines
        assert re.fullmatch(rf"{name} +\S+ +/127\.0\.0\.1 +console-consumer +3 +- +{records}:0,1,2 +- +- +", members[2])
        busy = run("consumer-groups", "--reset-offsets", "--group", name, "--topic", records, "--to-earliest", "--execute")
        assert busy.startswith(
            f"\nError: Assignments can only be reset if the group '{name}' is inactive, but the current state is Stable.\n")
        kept = run("consumer-groups", "--delete", "--group", name)
        assert f"* Group '{name}' could not be deleted due to: org.apache.kafka.common.errors.GroupNotEmptyException: " in kept
    finally:
        process.terminate()
        process.wait()


def new_offsets(output) -> dict[str, str]:
    # Warnings about partitions without a record of that time come first.
    rows = [line.split() for line in output.lines if line.strip() and not line.startswith("Warn:")]
    assert rows[0] == ["GROUP", "TOPIC", "PARTITION", "NEW-OFFSET"]
    return {row[2]: row[3] for row in rows[1:]}


def test_offsets_are_reset(run, records, name, tmp_path):
    consumed(run, records, name)
    [full] = [line.split(":")[1] for line in run("get-offsets", "--topic", records).lines if line.endswith(":20")]

    def reset(*arguments, scope=("--topic", records), **options):
        return run("consumer-groups", "--reset-offsets", "--group", name, *scope, *arguments, **options)

    assert new_offsets(reset("--to-earliest", "--dry-run")) == {number: "0" for number in "012"}
    warned = reset("--to-earliest")
    assert warned.errors.startswith("WARN: No action will be performed as the --execute option is missing.")
    assert new_offsets(reset("--to-offset", 5, "--execute"))[full] == "5"
    assert new_offsets(reset("--shift-by", -2, "--dry-run", scope=("--all-topics",)))[full] == "3"
    assert new_offsets(reset("--shift-by", -9, "--dry-run", scope=("--topic", f"{records}:{full}"))) == {full: "0"}
    assert new_offsets(reset("--to-latest", "--dry-run"))[full] == "20"
    assert new_offsets(reset("--to-current", "--dry-run"))[full] == "5"
    assert new_offsets(reset("--by-duration", "PT1H", "--dry-run"))[full] == "0"
    # No record is so late, so the end is taken.
    late = reset("--to-datetime", "2999-01-01T00:00:00.000", "--dry-run", scope=("--topic", f"{records}:{full}"))
    assert late.lines[1] == f"Warn: Partition {full} from topic {records} is empty. Falling back to latest known offset."
    assert late.lines[-1].split()[-1] == "20"
    exported = reset("--to-offset", 7, "--dry-run", "--export", scope=("--topic", f"{records}:{full}"))
    assert exported == f"{records},{full},7\n\n"
    plan = tmp_path / "plan.csv"
    plan.write_text(exported)
    assert new_offsets(reset("--from-file", plan, "--execute", scope=())) == {full: "7"}
    described = run("consumer-groups", "--describe", "--group", name).lines
    assert any(line.split()[2:6] == [full, "7", "20", "13"] for line in described)
    assert reset("--dry-run", status=1).errors.startswith("Option '[reset-offsets]' requires one of the following scenarios: ")
    deleted = run("consumer-groups", "--delete-offsets", "--group", name, "--topic", f"{records}:{full}").lines
    assert deleted[0] == f"Request succeeded for deleting offsets from group {name}."
    assert deleted[2].split() == ["TOPIC", "PARTITION", "STATUS"] and deleted[3].split() == [records, full, "Successful"]


# Settings


def test_settings(run, topic):
    assert run("configs", "--describe", "--entity-type", "topics", "--entity-name", topic) == f"Dynamic configs for topic {topic} are:\n"
    changed = run("configs", "--alter", "--topic", topic, "--add-config", "retention.ms=1000000,cleanup.policy=[compact,delete]")
    assert changed == f"Completed updating config for topic {topic}.\n"
    assert run("configs", "--describe", "--topic", topic).lines == [
        f"Dynamic configs for topic {topic} are:",
        "  cleanup.policy=compact,delete sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:cleanup.policy=compact,delete, "
        "DEFAULT_CONFIG:log.cleanup.policy=delete}",
        "  retention.ms=1000000 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:retention.ms=1000000}",
    ]
    run("configs", "--alter", "--topic", topic, "--delete-config", "retention.ms,cleanup.policy")
    assert len(run("configs", "--describe", "--topic", topic).lines) == 1
    unset = run("configs", "--alter", "--topic", topic, "--delete-config", "retention.ms", status=1)
    assert unset.errors == "Invalid config(s): retention.ms\n"
    assert run("configs", "--describe", "--topic", f"{topic}-x") == (
        f"The topic '{topic}-x' doesn't exist and doesn't have dynamic config.\n")
    assert "  retention.ms=604800000 sensitive=false synonyms={" in run("configs", "--describe", "--topic", topic, "--all")
    wrong = run("configs", "--alter", "--topic", topic, "--add-config", "retention.ms=x", status=1)
    assert "org.apache.kafka.common.errors.InvalidConfigurationException: " in wrong.errors


def test_settings_of_brokers(run):
    assert run("configs", "--describe", "--entity-type", "brokers", "--entity-name", "1").lines[0] == "Dynamic configs for broker 1 are:"
    run("configs", "--alter", "--broker", 1, "--add-config", "log.cleaner.threads=2")
    assert "  log.cleaner.threads=2 sensitive=false synonyms={DYNAMIC_BROKER_CONFIG:log.cleaner.threads=2" in run(
        "configs", "--describe", "--broker", 1)
    run("configs", "--alter", "--broker", 1, "--delete-config", "log.cleaner.threads")
    assert run("configs", "--describe", "--broker-defaults").lines[0] == "Default configs for brokers in the cluster are:"
    assert run("configs", "--describe", "--entity-type", "brokers", "--entity-name", "x", status=1).errors == (
        "The entity name for brokers must be a valid integer broker id, but it is: x\n")


def test_scram_users(run, name):
    assert run("configs", "--alter", "--entity-type", "users", "--entity-name", name, "--add-config",
               "SCRAM-SHA-256=[iterations=8192,password=secret]") == f"Completed updating config for user {name}.\n"
    assert run("configs", "--describe", "--user", name) == (
        f"SCRAM credential configs for user-principal '{name}' are SCRAM-SHA-256=iterations=8192\n")
    run("configs", "--alter", "--user", name, "--delete-config", "SCRAM-SHA-256")
    assert run("configs", "--describe", "--user", name) == ""


# Clusters


def test_the_cluster_and_its_versions(run, broker):
    assert re.fullmatch(r"Cluster ID: [\w-]{22}\n", run("cluster", "cluster-id"))
    head, row = run("cluster", "list-endpoints").lines
    assert head == "ID         HOST      PORT       RACK       STATE      ENDPOINT_TYPE  "
    assert row == f"1          127.0.0.1 {broker.port:<10} null       unfenced   broker         "
    versions = run("broker-api-versions").lines
    assert versions[0] == f"127.0.0.1:{broker.port} (id: 1 rack: null isFenced: false) -> ("
    assert versions[1] == "\tProduce(0): 0 to 13 [usable: 13]," and versions[-1] == ")"
    assert "\tListPartitionReassignments(46): 0 [usable: 0]," in versions


def test_the_quorum(run):
    status = dict(line.split(":", 1) for line in run("metadata-quorum", "describe", "--status").lines)
    assert list(status) == [
        "ClusterId", "LeaderId", "LeaderEpoch", "HighWatermark", "MaxFollowerLag", "MaxFollowerLagTimeMs", "CurrentVoters",
        "CurrentObservers"]
    assert status["LeaderId"].strip() == "1" and status["CurrentObservers"].strip() == "[]"
    assert re.search(r'^ +\[\{"id": 1, .*"endpoints": \["CONTROLLER://127.0.0.1:\d+"\]\}\]$', status["CurrentVoters"])
    head, row = run("metadata-quorum", "describe", "--replication").lines
    assert head.split() == ["NodeId", "DirectoryId", "LogEndOffset", "Lag", "LastFetchTimestamp", "LastCaughtUpTimestamp", "Status"]
    assert row.split()[0] == "1" and row.split()[-1] == "Leader"
    neither = run("metadata-quorum", "describe", status=1)
    assert neither.errors == "One of --status or --replication must be specified with describe sub-command\n"


def test_features(run):
    lines = run("features", "describe").lines
    pattern = (r"Feature: ([\w.]+)\tSupportedMinVersion: (\S+)\tSupportedMaxVersion: (\S+)\tFinalizedVersionLevel: (\S+)\tEpoch: \d+")
    found = {match[1]: match[4] for match in (re.fullmatch(pattern, line) for line in lines)}
    assert found["metadata.version"] == "4.1-IV1" and found["transaction.version"] == "2"
    wrong = run("features", "upgrade", "--feature", "metadata.version=99", status=1)
    assert wrong.startswith("Could not upgrade metadata.version to 99. ") and wrong.errors == "1 out of 1 operation(s) failed.\n"


def test_offsets(run, records):
    assert sorted(line.rsplit(":", 1)[1] for line in run("get-offsets", "--topic", records).lines) == ["0", "0", "20"]
    assert run("get-offsets", "--topic-partitions", f"{records}:0", "--time", "earliest") == f"{records}:0:0\n"
    assert run("get-offsets", "--topic-partitions", f"{records}:1-", "--time", -2).lines == [f"{records}:1:0", f"{records}:2:0"]
    nothing = run("get-offsets", "--topic", f"{records}-x", status=1)
    assert nothing.errors == "Error occurred: Could not match any topic-partitions with the specified filters\n"


def test_directories(run, records, broker):
    first, second, text = run("log-dirs", "--describe", "--topic-list", records).lines
    assert first == "Querying brokers for log directories information"
    assert second == "Received log directory information from brokers 1"
    described = json.loads(text)
    assert described["version"] == 1
    [directory] = described["brokers"][0]["logDirs"]
    assert directory["error"] is None and directory["logDir"] == str(broker.data)
    assert sorted(partition["partition"] for partition in directory["partitions"]) == [f"{records}-{number}" for number in range(3)]
    assert max(partition["size"] for partition in directory["partitions"]) > 0
    unknown = run("log-dirs", "--describe", "--broker-list", "1,7", status=1)
    assert unknown.errors == "ERROR: The given brokers do not exist from --broker-list: 7. Current existent brokers: 1\n"


def test_records_are_deleted(run, records, tmp_path):
    [full] = [line.split(":")[1] for line in run("get-offsets", "--topic", records).lines if line.endswith(":20")]
    file = tmp_path / "offsets.json"
    file.write_text(json.dumps({"partitions": [{"topic": records, "partition": int(full), "offset": 5}], "version": 1}))
    assert run("delete-records", "--offset-json-file", file).lines == [
        "Executing records delete operation", "Records delete operation completed:", f"partition: {records}-{full}\tlow_watermark: 5"]
    file.write_text(json.dumps({"partitions": [{"topic": records, "partition": int(full), "offset": 99}], "version": 1}))
    assert run("delete-records", "--offset-json-file", file).lines[-1].startswith(
        f"partition: {records}-{full}\terror: org.apache.kafka.common.errors.OffsetOutOfRangeException: ")


def test_leaders_and_moves(run, topic, tmp_path):
    assert run("leader-election", "--election-type", "preferred", "--topic", topic, "--partition", 0) == (
        f"Valid replica already elected for partitions {topic}-0\n")
    assert run("leader-election", "--election-type", "preferred", status=1).errors == (
        "One and only one of the following options is required: topic, all-topic-partitions, path-to-json-file\n")
    file = tmp_path / "moves.json"
    file.write_text(json.dumps({"partitions": [{"topic": topic, "partition": 0, "replicas": [1]}], "version": 1}))
    assert run("reassign-partitions", "--reassignment-json-file", file, "--execute").lines == [
        "Current partition replica assignment", "",
        '{"version":1,"partitions":[{"topic":"' + topic + '","partition":0,"replicas":[1],"log_dirs":["any"]}]}', "",
        "Save this to use as the --reassignment-json-file option during rollback",
        f"Successfully started partition reassignment for {topic}-0"]
    assert run("reassign-partitions", "--reassignment-json-file", file, "--verify").lines == [
        "Status of partition reassignment:", f"Reassignment of partition {topic}-0 is completed.", "",
        "Clearing broker-level throttles on broker 1", f"Clearing topic-level throttles on topic {topic}"]
    assert run("reassign-partitions", "--list") == "No partition reassignments found.\n"
    assert run("reassign-partitions", "--reassignment-json-file", file, "--cancel").lines[0] == (
        "None of the specified partition reassignments are active.")
    topics = tmp_path / "topics.json"
    topics.write_text(json.dumps({"topics": [{"topic": topic}], "version": 1}))
    proposed = run("reassign-partitions", "--topics-to-move-json-file", topics, "--broker-list", "1", "--generate").lines
    assert proposed[0] == "Current partition replica assignment" and proposed[3] == "Proposed partition reassignment configuration"
    assert json.loads(proposed[1]) == json.loads(proposed[4])


def test_transactions(run, bootstrap, topic, name):
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": name})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, b"x", partition=0)
    producer.flush(30)
    listed = run("transactions", "list").lines
    assert listed[0].split() == ["TransactionalId", "Coordinator", "ProducerId", "TransactionState"]
    assert any(line.split()[0] == name and line.split()[3] == "Ongoing" for line in listed[1:])
    described = run("transactions", "describe", "--transactional-id", name).lines
    assert described[1].split()[1] == name and described[1].split()[-1] == f"{topic}-0"
    producers = run("transactions", "describe-producers", "--topic", topic, "--partition", 0).lines
    assert producers[0].split()[-1] == "CurrentTransactionStartOffset" and producers[1].split()[-1] == "0"
    assert len(run("transactions", "find-hanging", "--topic", topic).lines) == 1
    producer.commit_transaction(30)
    unknown = run("transactions", "describe", "--transactional-id", f"{name}-x", status=1)
    assert unknown.errors.startswith(f"Failed to describe transaction state of transactional-id `{name}-x`: ")


def test_performance(run, topic, bootstrap):
    produced = tool("producer-perf-test", "--topic", topic, "--num-records", 1000, "--record-size", 100, "--throughput", -1,
                    "--producer-props", f"bootstrap.servers={bootstrap}", "linger.ms=1")
    number = r"\d+\.\d"
    assert re.fullmatch(
        rf"1000 records sent, {number} records/sec \({number}\d MB/sec\), {number}\d ms avg latency, {number}\d ms max latency, "
        r"\d+ ms 50th, \d+ ms 95th, \d+ ms 99th, \d+ ms 99.9th.\n", produced)
    head, row = run("consumer-perf-test", "--topic", topic, "--messages", 1000).lines
    assert head == (
        "start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, "
        "fetch.MB.sec, fetch.nMsg.sec")
    fields = row.split(", ")
    assert len(fields) == 10 and fields[4] == "1000" and fields[2] == "0.0954"


# Files and nodes


def test_a_node_from_nothing(tmp_path):
    """Formatted, looked at, started and its files dumped, all with Kafka's tools."""
    port, controller = free_port(), free_port()
    data = tmp_path / "data"
    properties = tmp_path / "server.properties"
    properties.write_text(
        f"process.roles=broker,controller\nnode.id=1\nlisteners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n"
        f"controller.listener.names=CONTROLLER\ncontroller.quorum.voters=1@127.0.0.1:{controller}\nlog.dirs={data}\n"
        f"offsets.topic.replication.factor=1\noffsets.topic.num.partitions=1\nmartlet.admin.listeners=127.0.0.1:{free_port()}\n")
    assert tool("storage", "info", "-c", properties, status=1) == f"Found problem:\n  {data} does not exist\n\n"
    cluster = tool("storage", "random-uuid").strip()
    assert re.fullmatch(r"[\w-]{22}", cluster)
    assert tool("storage", "format", "-t", cluster, "-c", properties) == (
        f"Formatting metadata directory {data} with metadata.version 4.1-IV1.\n")
    again = tool("storage", "format", "--cluster-id", cluster, "--config", properties, status=1)
    assert again.errors == (
        f"Log directory {data} is already formatted. Use --ignore-formatted to ignore this directory and format the others.\n")
    assert tool("storage", "format", "-t", cluster, "-c", properties, "--ignore-formatted") == (
        "All of the log directories are already formatted.\n")
    info = tool("storage", "info", "-c", properties)
    assert re.fullmatch(
        rf"Found log directory:\n  {data}\n\nFound metadata: \{{cluster.id={cluster}, directory.id=[\w-]{{22}}, node.id=1, version=1\}}\n\n",
        info)
    log = open(tmp_path / "log", "wb")
    node = subprocess.Popen(
        [str(SCRIPTS / "kafka-server-start.sh"), str(properties), "--override", "num.partitions=2"], stdout=log, stderr=log,
        env={"MARTLET": str(binary()), "PATH": "/bin:/usr/bin"})
    bootstrap = f"127.0.0.1:{port}"
    try:
        wait_until(lambda: b"broker: ready" in (tmp_path / "log").read_bytes(), "the node is ready")
        tool("topics", "--create", "--topic", "t", bootstrap=bootstrap)
        assert "PartitionCount: 2" in tool("topics", "--describe", "--topic", "t", bootstrap=bootstrap)
        tool("console-producer", "--topic", "t", "--property", "parse.key=true", stdin="k\tv\n", bootstrap=bootstrap)
        tool("console-consumer", "--topic", "t", "--group", "g", "--from-beginning", "--max-messages", 1, bootstrap=bootstrap)
    finally:
        node.send_signal(signal.SIGTERM)
        node.wait(30)
        log.close()
    dump(data)


def dump(data):
    [segment] = [path for path in data.glob("t-*/00000000000000000000.log") if path.stat().st_size]
    lines = tool("dump-log", "--files", segment, "--print-data-log").lines
    assert lines[:2] == [f"Dumping {segment}", "Log starting offset: 0"]
    assert re.fullmatch(
        r"baseOffset: 0 lastOffset: 0 count: 1 baseSequence: 0 lastSequence: 0 producerId: \d+ producerEpoch: 0 partitionLeaderEpoch: 0 "
        r"isTransactional: false isControl: false deleteHorizonMs: OptionalLong.empty position: 0 CreateTime: \d+ size: \d+ magic: 2 "
        r"compresscodec: none crc: \d+ isvalid: true", lines[2])
    assert re.fullmatch(r"\| offset: 0 CreateTime: \d+ keySize: 1 valueSize: 1 sequence: 0 headerKeys: \[\] key: k payload: v", lines[3])
    metadata = tool("dump-log", "--files", data / "__cluster_metadata-0" / "00000000000000000000.log", "--cluster-metadata-decoder")
    assert '] LeaderChange: {"version":0,"leaderId":1,"voters":[{"voterId":1}],"grantingVoters":[{"voterId":1}]}\n' in metadata
    assert 'payload: {"type":"FEATURE_LEVEL_RECORD","version":0,"data":{"name":"metadata.version","featureLevel":27}}\n' in metadata
    assert re.search(r'payload: \{"type":"TOPIC_RECORD","version":0,"data":\{"name":"t","topicId":"[\w-]{22}"\}\}\n', metadata)
    offsets = tool("dump-log", "--files", data / "__consumer_offsets-0" / "00000000000000000000.log", "--offsets-decoder")
    assert re.search(
        r'key: \{"type":"1","data":\{"group":"g","topic":"t","partition":\d\}\} payload: \{"version":"\d","data":\{"offset":1,', offsets)
    assert re.search(r'key: \{"type":"2","data":\{"group":"g"\}\} payload: \{"version":"\d","data":\{"protocolType":"consumer",', offsets)
    assert '"subscription":{"version":' in offsets or '"subscription":{"topics":["t"]' in offsets
    index = data / segment.parent.name / "00000000000000000000.index"
    assert tool("dump-log", "--files", index, "--index-sanity-check").lines[-1].startswith(str(index))


def test_levels_of_features():
    assert tool("storage", "version-mapping").lines == [
        "metadata.version=27 (4.1-IV1)", "kraft.version=1", "transaction.version=2", "group.version=1",
        "eligible.leader.replicas.version=1", "share.version=0", "streams.version=0"]
    assert tool("storage", "version-mapping", "-r", "3.9").lines[:3] == [
        "metadata.version=21 (3.9)", "kraft.version=1", "transaction.version=0"]
    assert tool("storage", "feature-dependencies", "--feature", "transaction.version=2", "--feature",
                "eligible.leader.replicas.version=1").lines == [
        "transaction.version=2 has no dependencies.", "eligible.leader.replicas.version=1 requires:",
        "    metadata.version=23 (4.0-IV1)"]
    assert "too few arguments" in tool("storage", status=1).errors


# Security


def test_acls_and_logins(tmp_path):
    from secured import ADMIN_PASSWORD, AUTHORIZER, PLAIN, SecuredBroker, jaas

    listeners = {"SASL": ("SASL_PLAINTEXT", {
        "sasl.enabled.mechanisms": "PLAIN",
        "plain.sasl.jaas.config": jaas(PLAIN, username="admin", password=ADMIN_PASSWORD, user_admin=ADMIN_PASSWORD, user_bob="bobs"),
    })}
    with SecuredBroker(listeners, {"authorizer.class.name": AUTHORIZER, "super.users": "User:admin;User:ANONYMOUS"}) as broker:
        bootstrap = f"127.0.0.1:{broker.ports['SASL']}"

        def login(user, password):
            path = tmp_path / f"{user}.properties"
            path.write_text("security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.jaas.config=" + jaas(
                PLAIN, username=user, password=password).replace("\\", "\\\\") + "\n")
            return "--command-config", path

        admin, bob = login("admin", ADMIN_PASSWORD), login("bob", "bobs")
        tool("topics", "--create", "--topic", "t", *admin, bootstrap=bootstrap)
        assert tool("topics", "--list", *bob, bootstrap=bootstrap).strip() == ""
        added = tool("acls", "--add", "--allow-principal", "User:bob", "--operation", "Describe", "--topic", "t", *admin,
                     bootstrap=bootstrap)
        entry = "\t(principal=User:bob, host=*, operation=DESCRIBE, permissionType=ALLOW)"
        resource = "ResourcePattern(resourceType=TOPIC, name=t, patternType=LITERAL)"
        assert added == f"Adding ACLs for resource `{resource}`: \n {entry}\n\n"
        assert tool("topics", "--list", *bob, bootstrap=bootstrap) == "t\n"
        assert tool("acls", "--list", "--topic", "t", *admin, bootstrap=bootstrap) == f"Current ACLs for resource `{resource}`:\n{entry}\n\n"
        tool("acls", "--add", "--allow-principal", "User:bob", "--consumer", "--topic", "t", "--group", "g", *admin, bootstrap=bootstrap)
        tool("acls", "--add", "--allow-principal", "User:bob", "--producer", "--topic", "t", *admin, bootstrap=bootstrap)
        _, file = bob
        tool("console-producer", "--topic", "t", "--producer.config", file, stdin="hello\n", bootstrap=bootstrap)
        read = tool("console-consumer", "--topic", "t", "--group", "g", "--from-beginning", "--max-messages", 1, "--consumer.config", file,
                    bootstrap=bootstrap)
        assert read == "hello\n"
        of_bob = tool("acls", "--list", "--principal", "User:bob", *admin, bootstrap=bootstrap)
        assert of_bob.lines[0] == "ACLs for principal `User:bob`" and "operation=READ" in of_bob
        tool("acls", "--remove", "--topic", "t", "--force", *admin, bootstrap=bootstrap)
        assert tool("acls", "--list", "--topic", "t", *admin, bootstrap=bootstrap) == ""
        refused = tool("topics", "--create", "--topic", "u", *bob, bootstrap=bootstrap, status=1)
        assert "Error while executing topic command : " in refused and "AuthorizationException" in refused.errors
        wrong = tool("topics", "--list", *login("bob", "wrong"), bootstrap=bootstrap, status=1)
        assert "SaslAuthenticationException" in wrong.errors
