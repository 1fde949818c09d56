// Files: segments, indexes, recovery, checkpoints, retention.
