// server.properties, YAML, environment.
