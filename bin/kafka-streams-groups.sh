#!/bin/sh
# Kafka's tool of this name, over the one binary.
exec "$(dirname "$(readlink -f "$0")")/martlet-tool.sh" kafka-streams-groups "$@"
