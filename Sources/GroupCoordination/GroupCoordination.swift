// Group state machines.
