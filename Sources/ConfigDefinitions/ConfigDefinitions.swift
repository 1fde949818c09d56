// The tables of configuration keys.
