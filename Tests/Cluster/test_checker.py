"""The checker finds each class of anomaly in a history made for it, and none in sound ones."""

import itertools

import pytest

from checker import check
from operations import FAILED, OK, UNKNOWN, Operation, Recorder, load

_clock = itertools.count()


def send(process, *records, outcome=OK, key="0", start=None, end=None, **fields):
    start = next(_clock) if start is None else start
    return Operation(
        process, start, next(_clock) if end is None else end, outcome, sends=[(key, offset, value) for offset, value in records], **fields)


def poll(process, *records, key="0", **fields):
    return Operation(process, next(_clock), next(_clock), OK, polls=[(key, offset, value) for offset, value in records], **fields)


def names(*operations):
    return set(check(list(operations)).counts)


def test_a_sound_history_is_valid():
    history = [send("w", (0, "a")), send("w", (1, "b")), poll("r", (0, "a")), send("w", (4, "c")), poll("r", (1, "b"), (4, "c"))]
    verdict = check(history)
    assert verdict.is_valid and "valid" in str(verdict)


def test_gaps_of_markers_and_an_unknown_send_are_sound():
    assert names(send("w", (None, "a"), outcome=UNKNOWN), send("w", (5, "b")), poll("r", (3, "a"), (5, "b"))) == set()
    assert names(send("w", (None, "a"), outcome=UNKNOWN), send("w", (5, "b")), poll("r", (5, "b"))) == set()


def test_a_failed_send_that_nobody_reads_is_sound():
    assert names(send("w", (None, "a"), outcome=FAILED), send("w", (0, "b")), poll("r", (0, "b"))) == set()


def test_two_values_at_one_offset():
    assert "inconsistent-offsets" in names(send("w", (0, "a")), poll("r", (0, "b")), send("v", (None, "b"), outcome=UNKNOWN))


def test_a_value_at_two_offsets():
    assert names(send("w", (0, "a")), poll("r", (0, "a"), (1, "a"))) == {"duplicate"}


def test_a_failed_send_is_read():
    assert names(send("w", (None, "a"), outcome=FAILED), poll("r", (0, "a"))) == {"G1a"}


def test_a_value_nobody_sent_is_read():
    assert names(send("w", (0, "a")), poll("r", (0, "a"), (1, "x"))) == {"G1a"}


def test_a_transaction_reads_its_own_send():
    own = Operation("t", next(_clock), next(_clock), OK, sends=[("0", 0, "a")], polls=[("0", 0, "a")], transactional=True)
    assert names(own, poll("r", (0, "a"))) == {"precommitted-read"}


def test_an_acknowledged_write_is_passed_over():
    assert names(send("w", (0, "a")), send("w", (1, "b")), send("w", (2, "c")), poll("r", (0, "a")), poll("q", (2, "c"))) == {"lost-write"}


def test_a_lost_write_whose_offset_was_taken_by_another():
    found = names(send("w", (0, "a")), send("w", (1, "b")), send("v", (1, "c")), poll("r", (0, "a"), (1, "c")))
    assert {"inconsistent-offsets", "lost-write"} <= found


def test_an_acknowledged_write_at_the_end_is_never_read():
    assert names(send("w", (0, "a")), send("w", (1, "b")), poll("r", (0, "a"))) == {"unseen"}


def test_what_was_read_is_gone_in_the_end():
    history = [send("w", (0, "a")), send("w", (None, "b"), outcome=UNKNOWN), poll("r", (0, "a"), (1, "b")), poll("f", (0, "a"), final=True)]
    assert names(*history) == {"vanished"}


def test_polls_skip():
    history = [send("w", (0, "a"), (1, "b"), (2, "c")), poll("all", (0, "a"), (1, "b"), (2, "c")), poll("r", (0, "a")), poll("r", (2, "c"))]
    assert names(*history) == {"poll-skip"}


def test_polls_go_back():
    history = [send("w", (0, "a"), (1, "b")), poll("r", (0, "a"), (1, "b")), poll("r", (1, "b"))]
    assert names(*history) == {"nonmonotonic-poll"}


def test_subscribers_may_skip_and_go_back():
    history = [
        send("w", (0, "a"), (1, "b"), (2, "c")), poll("all", (0, "a"), (1, "b"), (2, "c")), poll("r", (0, "a"), subscribed=True),
        poll("r", (2, "c"), subscribed=True), poll("r", (1, "b"), subscribed=True),
    ]
    verdict = check(history)
    assert verdict.is_valid and verdict.tolerated == {"poll-skip": 1, "nonmonotonic-poll": 1}


def test_a_rebalanced_key_begins_anew():
    history = [
        send("w", (0, "a"), (1, "b"), (2, "c")), poll("all", (0, "a"), (1, "b"), (2, "c")), poll("r", (2, "c")),
        poll("r", (0, "a"), rebalanced=["0"]),
    ]
    assert names(*history) == set()


def test_one_poll_skips_within():
    history = [send("w", (0, "a"), (1, "b"), (2, "c")), poll("all", (0, "a"), (1, "b"), (2, "c")), poll("r", (0, "a"), (2, "c"))]
    assert names(*history) == {"int-poll-skip"}


def test_one_poll_goes_back_within():
    assert names(send("w", (0, "a"), (1, "b")), poll("r", (1, "b"), (0, "a"))) == {"int-nonmonotonic-poll"}


def test_sends_of_one_process_are_reordered():
    found = names(send("w", (1, "a")), send("w", (0, "b")), poll("r", (0, "b"), (1, "a")))
    assert "nonmonotonic-send" in found


def test_one_send_goes_back_within():
    assert names(send("w", (1, "a"), (0, "b")), poll("r", (0, "b"), (1, "a"))) == {"int-nonmonotonic-send"}


def test_one_send_with_others_between_is_tolerated():
    verdict = check([
        Operation("w", next(_clock), next(_clock), OK, sends=[("0", 0, "a"), ("0", 2, "c")]), send("v", (1, "b")),
        poll("r", (0, "a"), (1, "b"), (2, "c"))])
    assert verdict.is_valid and verdict.tolerated["int-send-skip"] == 1


def test_writes_that_cross_are_tolerated():
    one, other = next(_clock), next(_clock)
    history = [
        Operation("w", one, next(_clock), OK, sends=[("x", 0, "a"), ("y", 1, "b")]),
        Operation("v", other, next(_clock), OK, sends=[("x", 1, "c"), ("y", 0, "d")]),
        Operation("r", next(_clock), next(_clock), OK, polls=[("x", 0, "a"), ("x", 1, "c"), ("y", 0, "d"), ("y", 1, "b")]),
    ]
    verdict = check(history)
    assert verdict.is_valid and verdict.tolerated["G0"] == 1


def test_two_operations_read_each_others_writes():
    one, other = next(_clock), next(_clock)
    history = [
        Operation("w", one, next(_clock), OK, sends=[("x", 0, "a")], polls=[("y", 0, "b")]),
        Operation("v", other, next(_clock), OK, sends=[("y", 0, "b")], polls=[("x", 0, "a")]),
    ]
    assert names(*history) == {"G1c"}


def test_a_later_write_lands_before_one_that_was_acknowledged():
    assert names(send("w", (1, "a")), send("v", (0, "b")), poll("r", (0, "b"), (1, "a"))) == {"G0-realtime"}


def test_overlapping_writes_may_land_in_either_order():
    assert names(send("w", (1, "a"), start=0, end=9), send("v", (0, "b"), start=1, end=8), poll("r", (0, "b"), (1, "a"))) == set()


def test_a_process_reads_what_it_writes_later():
    read = Operation("w", 0, 5, OK, polls=[("0", 0, "a")])
    write = Operation("w", 6, 9, OK, sends=[("0", 0, "a")])
    assert names(read, write) == {"G1c-process"}


def test_sends_under_way_together_have_no_order_across_partitions():
    history = [
        Operation("w", 0, 9, OK, sends=[("x", 1, "a")]), Operation("w", 1, 8, OK, sends=[("y", 0, "b")]),
        Operation("v", 0, 9, OK, sends=[("y", 1, "c")]), Operation("v", 1, 8, OK, sends=[("x", 0, "d")]),
        Operation("r", 20, 21, OK, polls=[("x", 0, "d"), ("x", 1, "a"), ("y", 0, "b"), ("y", 1, "c")]),
    ]
    assert names(*history) == set()


def test_something_is_read_before_it_is_written():
    read = Operation("r", 0, 1, OK, polls=[("0", 0, "a")])
    write = Operation("w", 3, 9, OK, sends=[("0", 0, "a")])
    assert names(read, write) == {"G1c-realtime"}


def test_an_end_lies_behind_what_was_acknowledged():
    end = Operation("e", 100_000, 100_001, OK, ends=[("0", 1)])
    assert names(send("w", (0, "a"), (1, "b"), start=1, end=2), poll("r", (0, "a"), (1, "b")), end) == {"stale-read"}


def test_an_end_that_was_asked_for_before_is_not_stale():
    end = Operation("e", 1.5, 100_001, OK, ends=[("0", 0)])
    assert names(send("w", (0, "a"), start=1, end=2), poll("r", (0, "a")), end) == set()


def test_partitions_do_not_mix():
    assert names(send("w", (0, "a"), key="0"), send("w", (0, "a2"), key="1"), poll("r", (0, "a"), key="0"), poll("r", (0, "a2"), key="1")) == set()


@pytest.mark.parametrize("count", [20_000])
def test_a_long_history_takes_seconds(count):
    history = [Operation("w", number, number + 0.5, OK, sends=[("0", number, f"v{number}")]) for number in range(count)]
    history.append(Operation("r", count, count + 1, OK, polls=[("0", number, f"v{number}") for number in range(count)]))
    assert check(history).is_valid


def test_a_history_is_kept_and_read_again(tmp_path):
    recorder = Recorder(tmp_path / "history.jsonl")
    operation = recorder.begin("w", sends=[("0", 0, "a")])
    recorder.end(operation, OK)
    recorder.fault("kill", "n1")["end"] = 1.0
    recorder.save()
    operations, faults = load(tmp_path / "history.jsonl")
    assert operations == recorder.operations and faults == recorder.faults
