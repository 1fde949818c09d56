"""A short round of `make torment KIND=links`."""

import pytest

from link_torment import LinkTorment


@pytest.fixture
def torment(tmp_path):
    torment = LinkTorment(tmp_path, seed=1, rate=60, is_whole_network=False)
    torment.nemesis.durations = [0.5, 1, 2]
    try:
        torment.start()
        yield torment
    finally:
        torment.close()


def test_both_sides_are_the_same_whatever_happens_between(torment):
    torment.rage(10, ["kill-both-sides", "cut-answers", "kill-link-coordinator", "cut-link", "pause", "kill-source-leader"])
    torment.take_over("cut", ["kill-mirror-leader"], is_disturbed=True)
    torment.come_to_rest()
    assert torment.nemesis.recorder.faults and torment.reigns.left_behind
