#!/bin/sh
# Finds the binary and runs one of Kafka's tools with it: $MARTLET, or `martlet` beside this script or one level up, or a build of this
# repository, or what $PATH has.
set -e
here=$(cd "$(dirname "$0")" && pwd)
for candidate in "$MARTLET" "$here/martlet" "$here/../martlet" "$here/../libexec/martlet" "$here/../.build/release/martlet" \
    "$here/../.build/debug/martlet"; do
    if [ -n "$candidate" ] && [ -x "$candidate" ] && [ ! -d "$candidate" ]; then exec "$candidate" "$@"; fi
done
if command -v martlet >/dev/null 2>&1; then exec martlet "$@"; fi
echo "no martlet binary: set MARTLET, or put it beside $here" >&2
exit 1
