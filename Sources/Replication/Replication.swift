// Replica state of one partition, fetch sessions.
