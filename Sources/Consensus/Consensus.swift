// KRaft.
