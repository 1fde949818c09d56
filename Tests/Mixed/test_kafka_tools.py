"""Apache Kafka's own tools and the tools of the same names in `bin/`, against one node of Martlet: the same output and the same status.

Each command runs on topics and groups of its own program, whose names are as long as the other's, and is compared after the names, times
and random ids are taken out. Tables that Kafka's tools print in the order of a hash table are compared without their order."""

import json
import os
import re
import subprocess

import pytest

from broker import Broker, binary
from kafka_nodes import HEAP, kafka_program, kafka_release
from kafka_tools import SCRIPTS

THEIRS, OURS = "theirs", "oursxx"
PORT = "PORT"


@pytest.fixture(scope="module")
def node():
    with Broker({"transaction.state.log.replication.factor": "1", "transaction.state.log.min.isr": "1",
                 "offsets.topic.num.partitions": "5", "group.initial.rebalance.delay.ms": "0"}) as node:
        yield node


def run(program: str, node: Broker, name: str, arguments: list[str], stdin: str | None) -> tuple[int, str]:
    if program == THEIRS:
        command = [kafka_program(f"kafka-{name}", f"kafka-{name}.sh")]
    else:
        command = [str(SCRIPTS / f"kafka-{name}.sh")]
    filled = [argument.replace("NAME", program).replace("SERVER", node.bootstrap) for argument in arguments]
    done = subprocess.run(
        [*command, *filled], input=stdin or "", capture_output=True, text=True, timeout=90,
        env={**os.environ, **HEAP, "MARTLET": str(binary())})
    return done.returncode, done.stdout


def plain(text: str, program: str, node: Broker) -> list[str]:
    text = text.replace(program, "NAME").replace(str(node.port), PORT)
    text = re.sub(r"TopicId: [\w-]{22}", "TopicId: ID", text)
    text = re.sub(r"CreateTime:\d+", "CreateTime:T", text)
    text = re.sub(r"\b1[78]\d{11}\b *", "T", text)
    # What goes with Java's stack traces, which Martlet's tools have not.
    text = re.sub(r"^(\tat .*|Caused by: .*|(java|org)\.\S+Exception: .*)$", "", text, flags=re.MULTILINE)
    return sorted(line for line in text.splitlines() if line)


SERVER = ["--bootstrap-server", "SERVER"]
OFFSETS = json.dumps({"partitions": [{"topic": "NAME-a", "partition": 0, "offset": 2}], "version": 1})
MOVES = json.dumps({"partitions": [{"topic": "NAME-a", "partition": 0, "replicas": [1]}], "version": 1})

# In order: later ones use what earlier ones made. A third member is what the tool reads.
COMMANDS: list[tuple] = [
    ("topics", "--create --topic NAME-a --partitions 2 --config retention.ms=86400000"),
    ("topics", "--create --topic NAME-a"),
    ("topics", "--create --topic NAME-a --if-not-exists"),
    ("topics", "--create --topic NAME-b --replica-assignment 1,1,1"),
    ("topics", "--create --topic NAME-c --partitions 0"),
    ("topics", "--create --topic NAME_c --config no.such.key=1"),
    ("topics", "--create --topic NAME?"),
    ("topics", "--create --topic NAME-d --replication-factor 3"),
    ("topics", "--list --topic NAME.*"),
    ("topics", "--describe --topic NAME-a"),
    ("topics", "--describe --topic NAME-.*"),
    ("topics", "--describe --topic NAME-a --under-min-isr-partitions"),
    ("topics", "--describe --topic NAME-a --at-min-isr-partitions"),
    ("topics", "--describe --topic NAME-z"),
    ("topics", "--describe --topic NAME-a --topics-with-overrides"),
    ("topics", "--alter --topic NAME-b --partitions 4"),
    ("topics", "--alter --topic NAME-b --partitions 2"),
    ("topics", "--delete --topic NAME-z"),
    ("console-producer", "--topic NAME-a --property parse.key=true --property key.separator=: --property parse.headers=true",
     "h:1\tk:first\nh:2\tk:second\nh:3\tk:third\n"),
    ("console-consumer", "--topic NAME-a --from-beginning --max-messages 3 --group NAME-g --property print.key=true "
     "--property print.headers=true --property print.offset=true --property print.partition=true --property print.timestamp=true"),
    ("console-consumer", "--topic NAME-a --from-beginning --max-messages 2 --property print.value=false --property print.key=true"),
    ("console-consumer", "--topic NAME-a --from-beginning --timeout-ms 10000 --isolation-level read_committed"),
    ("console-consumer", "--topic NAME-a --offset 1"),
    ("console-consumer", "--group NAME-g"),
    ("consumer-groups", "--describe --group NAME-g"),
    ("consumer-groups", "--describe --group NAME-g --verbose"),
    ("consumer-groups", "--describe --group NAME-g --members"),
    ("consumer-groups", "--describe --group NAME-g --members --verbose"),
    ("consumer-groups", "--describe --group NAME-g --state"),
    ("consumer-groups", "--describe --group NAME-g --state --verbose"),
    ("consumer-groups", "--describe --group NAME-x"),
    ("consumer-groups", "--reset-offsets --group NAME-g --topic NAME-a --to-earliest --dry-run"),
    ("consumer-groups", "--reset-offsets --group NAME-g --topic NAME-a --to-offset 1 --execute"),
    ("consumer-groups", "--reset-offsets --group NAME-g --topic NAME-a:0,1 --shift-by 1 --dry-run"),
    ("consumer-groups", "--reset-offsets --group NAME-g --all-topics --to-latest --dry-run --export"),
    ("consumer-groups", "--reset-offsets --group NAME-g --topic NAME-a --to-datetime 2020-01-01T00:00:00.000 --dry-run"),
    ("consumer-groups", "--reset-offsets --group NAME-n --topic NAME-a --to-current --dry-run"),
    ("consumer-groups", "--reset-offsets --group NAME-g --to-earliest"),
    ("consumer-groups", "--delete-offsets --group NAME-g --topic NAME-a"),
    ("consumer-groups", "--delete-offsets --group NAME-n --topic NAME-a"),
    ("consumer-groups", "--delete --group NAME-g"),
    ("consumer-groups", "--delete --group NAME-g"),
    ("consumer-groups", "--list --describe"),
    ("consumer-groups", "--describe --members"),
    ("configs", "--describe --entity-type topics --entity-name NAME-a"),
    ("configs", "--alter --topic NAME-a --add-config cleanup.policy=[compact,delete],segment.bytes=1048576"),
    ("configs", "--describe --topic NAME-a"),
    ("configs", "--alter --topic NAME-a --delete-config segment.bytes"),
    ("configs", "--alter --topic NAME-a --delete-config segment.bytes"),
    ("configs", "--alter --topic NAME-a --add-config retention.ms=x"),
    ("configs", "--alter --topic NAME-a --add-config x"),
    ("configs", "--describe --topic NAME-z"),
    ("configs", "--describe --entity-type brokers"),
    ("configs", "--describe --entity-type brokers --entity-default"),
    ("configs", "--describe --entity-type nonsense"),
    ("configs", "--describe --entity-type broker-loggers --entity-name 1"),
    ("acls", "--list"),
    ("acls", "--add --topic NAME-a"),
    ("get-offsets", "--topic NAME-a"),
    ("get-offsets", "--topic-partitions NAME-a:0-1,NAME-b:2 --time earliest"),
    ("get-offsets", "--topic NAME-b --time max-timestamp"),
    ("get-offsets", "--topic NAME-z"),
    ("get-offsets", "--topic NAME-a --time x"),
    ("delete-records", "--offset-json-file OFFSETS"),
    ("leader-election", "--election-type preferred --topic NAME-a --partition 0"),
    ("leader-election", "--election-type unclean --topic NAME-a --partition 7"),
    ("leader-election", "--election-type preferred --topic NAME-a"),
    ("reassign-partitions", "--execute --reassignment-json-file MOVES"),
    ("reassign-partitions", "--verify --reassignment-json-file MOVES"),
    ("reassign-partitions", "--cancel --reassignment-json-file MOVES"),
    ("reassign-partitions", "--list"),
    ("reassign-partitions", "--verify"),
    ("cluster", "cluster-id"),
    ("metadata-quorum", "describe --status"),
    ("metadata-quorum", "describe"),
    ("features", "upgrade --feature metadata.version=99"),
    ("features", "disable"),
    ("transactions", "list"),
    ("transactions", "describe --transactional-id NAME-t"),
    ("transactions", "describe-producers --topic NAME-b --partition 0"),
    ("transactions", "find-hanging --topic NAME-a"),
    ("transactions", "find-hanging"),
    ("log-dirs", "--describe --broker-list 9"),
    ("topics", "--delete --topic NAME-b"),
    ("topics", "--list --create"),
]

# Where the two differ, and why; a command that begins to agree shows here as well.
COMMITS = "Kafka's consumer commits positions of partitions that it read nothing of, Martlet's does not"
DIFFERENT = {
    "--describe --group NAME-g": COMMITS,
    "--describe --group NAME-g --verbose": COMMITS,
}


@pytest.mark.parametrize("number", range(len(COMMANDS)), ids=lambda number: f"{number}-{COMMANDS[number][0]}")
def test_the_same_output_and_status(node, tmp_path, number):
    name, text, *stdin = COMMANDS[number]
    if not kafka_release().startswith("4."):
        pytest.skip("the lines of the tools of Apache Kafka 4 are the model")
    found = {}
    for program in (THEIRS, OURS):
        files = {"OFFSETS": OFFSETS, "MOVES": MOVES}
        arguments = []
        for argument in text.split():
            if argument in files:
                path = tmp_path / f"{program}-{argument}"
                path.write_text(files[argument].replace("NAME", program))
                argument = str(path)
            arguments.append(argument)
        # Tools with subcommands take the servers behind the command's name.
        place = 1 if name == "cluster" else 0 if name in ("metadata-quorum", "features", "transactions") else len(arguments)
        arguments[place:place] = SERVER
        status, output = run(program, node, name, arguments, stdin[0] if stdin else None)
        found[program] = (status, plain(output, program, node))
    if text in DIFFERENT:
        assert found[OURS] != found[THEIRS], "these agree now"
        pytest.xfail(DIFFERENT[text])
    assert found[OURS] == found[THEIRS]
