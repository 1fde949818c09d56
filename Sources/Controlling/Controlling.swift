// Controller decisions.
