#!/bin/bash
# The unit for systemd: valid, and as closed as it says.
. "$(dirname "$0")/lib.sh"

command -v systemd-analyze >/dev/null || { echo "no systemd-analyze: not checked"; exit 0; }
sed "s|/usr/local/bin/cambium|$CAMBIUM|" "$SOURCE_DIR/tools/cambium.service" >cambium.service
systemd-analyze verify --man=no "$PWD/cambium.service" >out 2>&1 || { cat out; fail "verify"; }
silent out
systemd-analyze security --offline=true --no-pager --threshold=15 "$PWD/cambium.service" >out 2>&1 ||
    { tail -n 1 out; fail "more exposed than 1.5"; }
