"""`martlet drill`: changes of clusters are rehearsed on a topic of their own, measured, and leave nothing behind."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from broker import binary
from commands import martlet, martlet_json
from links import destination_cluster, link
from nodes import wait_until

FILTERS = json.dumps({"topicFilters": [{"name": "*", "patternType": "LITERAL", "filterType": "INCLUDE"}]})


@pytest.fixture(scope="module")
def destination(source):
    with destination_cluster() as cluster:
        # That the link mirrors new topics by itself must not be in the way.
        link(cluster, source, "link", topic_config_sync_ms=500, auto_create_mirror_topics_enable="true",
             auto_create_mirror_topics_filters=FILTERS)
        yield cluster


def drill(destination, tmp_path, kind, *arguments):
    """The report, from the command's output, with its page in markdown; and that the file holds the same."""
    done = martlet(
        destination, "drill", kind, "--link", "link", "--seconds", "1.5", "--rate", "600", "--report", tmp_path / "report.md", "--json",
        *arguments)
    report = json.loads(done.stdout)
    assert json.loads((tmp_path / "report.json").read_text()) == report
    return report, (tmp_path / "report.md").read_text()


def check_removed(*clusters):
    for cluster in clusters:
        wait_until(
            lambda: not [each for each in martlet_json(cluster, "topic", "list") if each["topic"].startswith("martlet-drill")],
            "the drill's topic is gone", 20, 0.1)
        assert [each["name"] for each in martlet_json(cluster, "link", "list")] in (["link"], [])


def check_work(report, steps):
    assert report["passed"] and report["problems"] == []
    assert [each["step"] for each in report["steps"]] == steps
    # Three producers and a consumer were at work on both sides, however little a busy machine lets them do.
    assert report["acknowledged"]["atSource"] > 50
    assert report["acknowledged"]["records"] > report["acknowledged"]["atSource"] + 50
    assert report["missing"] == 0
    assert report["consumer"]["records"] >= report["acknowledged"]["records"] - report["rpo"]["records"]
    for each in report["steps"]:
        assert 0 < each["rtoSeconds"] < 30 and 0 < each["writableSeconds"] <= 30
        assert each["firstWriteSeconds"] >= each["writableSeconds"] - 1
    assert report["rtoSeconds"] == max(each["rtoSeconds"] for each in report["steps"])


def test_a_switchover_loses_nothing(source, destination, tmp_path):
    report, page = drill(destination, tmp_path, "switchover")
    check_work(report, ["promote here"])
    assert report["rpo"] == {"records": 0, "seconds": 0.0} and report["duplicates"] == 0
    # The source refused writes from some moment on, and producers went over because of that.
    assert report["refusedOrUnansweredWrites"] > 0
    assert "# Drill switchover over link 'link': passed" in page and "RPO" in page
    check_removed(source, destination)


def test_a_failover_says_what_it_costs(source, destination, tmp_path):
    report, page = drill(destination, tmp_path, "failover")
    check_work(report, ["fail over"])
    # What the source acknowledged after the cut is lost: producers were told only afterwards.
    assert (report["rpo"]["records"] > 0) == (report["rpo"]["seconds"] > 0) or report["rpo"]["records"] <= 3
    assert "RPO: acknowledged records that are lost" in page
    check_removed(source, destination)


def test_going_over_and_back_loses_nothing(source, destination, tmp_path):
    report, page = drill(destination, tmp_path, "failback")
    check_work(report, ["promote here", "promote the old source"])
    assert report["rpo"]["records"] == 0 and report["duplicates"] == 0
    assert report["restoreSeconds"] > 0 and "Restore" in page
    check_removed(source, destination)


def test_a_drill_can_be_broken_off(source, destination, tmp_path):
    process = subprocess.Popen(
        [str(binary()), "drill", "switchover", "--link", "link", "--seconds", "60", "-b", destination.bootstrap],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(
            lambda: any(each["topic"].startswith("martlet-drill") for each in martlet_json(destination, "topic", "list")),
            "the drill has begun", 30, 0.1)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1 and "interrupted" in error
    check_removed(source, destination)


def test_mistakes_are_told(source, destination):
    done = martlet(destination, "drill", "switchover", "--link", "none", check=False)
    assert done.returncode == 1 and "there is no link 'none'" in done.stderr
    for arguments in (["--rate", "1"], ["--seconds", "0"], ["--size", "3"], ["--rate", "1000000", "--seconds", "100"]):
        assert martlet(destination, "drill", "failover", "--link", "link", *arguments, check=False).returncode == 64


def test_the_demonstration_runs(tmp_path):
    """`make demo-dr`, short and with single nodes."""
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("demo_dr.py")), "--nodes", "1", "--rate", "300", "--seconds", "1", "--json", str(figures)],
        capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(figures.read_text())
    assert found["both clusters hold the same"] and found["RPO of the failback, records"] == 0
    assert 0 < found["RTO of the failover, s"] < 30 and 0 < found["RTO of the failback, s"] < 30
    assert "kill -9: the primary is gone" in done.stdout and "RPO of the failover" in done.stdout
