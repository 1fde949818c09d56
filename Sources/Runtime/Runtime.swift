// Drives a core: append, commit, replay, reply.
