#!/bin/sh
# Kafka's script of this name: starts a node, with -daemon in the background (its output goes to $LOG_DIR/kafkaServer.out, or ./logs).
here=$(dirname "$(readlink -f "$0")")
if [ "$1" = -daemon ]; then
    shift
    logs=${LOG_DIR:-$here/../logs}
    mkdir -p "$logs"
    nohup "$here/martlet-tool.sh" kafka-server-start "$@" >"$logs/kafkaServer.out" 2>&1 </dev/null &
    exit 0
fi
exec "$here/martlet-tool.sh" kafka-server-start "$@"
