// Generated request and response messages live in Generated/.
