"""kcat from Debian: an older librdkafka in a command-line tool, as people use it."""

import json
import subprocess

import pytest

from samples import COMPRESSIONS, many


def kcat(bootstrap, *arguments, given=""):
    done = subprocess.run(["kcat", "-b", bootstrap, *arguments], input=given, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_lines_in_lines_out(bootstrap, topic, compression):
    lines = [value.decode() for value in many(1000)]
    kcat(bootstrap, "-P", "-t", topic, "-p", "0", "-z", compression, given="\n".join(lines) + "\n")
    assert kcat(bootstrap, "-C", "-t", topic, "-p", "0", "-o", "beginning", "-e", "-q").splitlines() == lines


def test_keys_headers_and_offsets(bootstrap, topic):
    kcat(bootstrap, "-P", "-t", topic, "-p", "0", "-K", ":", "-H", "colour=red", given="a:1\nb:2\n")
    shown = kcat(bootstrap, "-C", "-t", topic, "-p", "0", "-o", "beginning", "-e", "-q", "-f", "%o %k %s %h\\n")
    assert shown.splitlines() == ["0 a 1 colour=red", "1 b 2 colour=red"]
    assert kcat(bootstrap, "-C", "-t", topic, "-p", "0", "-o", "-1", "-e", "-q").splitlines() == ["2"]


def test_metadata_list(bootstrap, topic, broker):
    listed = json.loads(kcat(bootstrap, "-L", "-J", "-t", topic))
    assert [entry["name"] for entry in listed["brokers"]] == [f"127.0.0.1:{broker.port}"]
    [seen] = listed["topics"]
    assert seen["topic"] == topic and len(seen["partitions"]) == 3


def test_query_of_an_offset(bootstrap, topic):
    kcat(bootstrap, "-P", "-t", topic, "-p", "1", given="a\nb\nc\n")
    assert "offset 3" in kcat(bootstrap, "-Q", "-t", f"{topic}:1:-1")
    assert "offset 0" in kcat(bootstrap, "-Q", "-t", f"{topic}:1:-2")


def test_balanced_consumer(bootstrap, topic, name):
    kcat(bootstrap, "-P", "-t", topic, given="a\nb\nc\n")
    shown = kcat(bootstrap, "-G", name, "-X", "auto.offset.reset=earliest", "-c", "3", "-q", topic)
    assert sorted(shown.splitlines()) == ["a", "b", "c"]
