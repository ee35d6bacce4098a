#!/bin/bash
# One service a workspace; readers beside it and on read-only folders.
. "$(dirname "$0")/lib.sh"

sample
expect 0 cambium init -C w "${TINY[@]}" "${SMALL_VOCABULARY[@]}" --set probe.share=0
head -n 2 sample.ndjson >two.ndjson
expect 0 cambium ingest -C w two.ndjson
expect 0 cambium run -C w --once --flush

"$CAMBIUM" -C w run >service.out 2>service.err &
service=$!
CHILDREN+=($service)
until [ "$("$CAMBIUM" -C w status --json >s.json; field .running s.json)" = $service ]; do
    kill -0 $service || fail "the service ended"
    sleep 0.05
done

case_of C15_a_second_service_is_told_the_process
# Changes reach it over its socket (control.sh); a second one does not start.
for command in "run" "run --once"; do
    # shellcheck disable=SC2086
    expect 75 cambium -C w $command
    says "process $service"
done
for command in "status" "log" "score two.ndjson" "generate -p The -n 5" "snapshots" "policy list" \
    "policy show naive" "config seed" "config" "feed list" "schedule list" "verify"; do
    # shellcheck disable=SC2086
    expect 0 cambium -C w $command
done
kill -TERM $service
code=0
wait $service || code=$?
[ $code = 0 ] || { cat service.err; fail "SIGTERM: exit code $code"; }
expect 0 cambium -C w status --json
[ "$(field .running)" = "" ] || fail "still running?"

# A service that was killed leaves no lock behind.
"$CAMBIUM" -C w run >service.out 2>service.err &
service=$!
CHILDREN+=($service)
until [ "$("$CAMBIUM" -C w status --json >s.json; field .running s.json)" = $service ]; do
    sleep 0.05
done
kill -KILL $service
wait $service || true
expect 0 cambium -C w run --once

case_of C23_a_read_only_workspace
# Readers work, changes are refused.  Root may write anywhere, so then only a mount
# could refuse; the test runs as an unprivileged user if there is one.
as_reader=()
if [ "$(id -u)" = 0 ]; then
    command -v setpriv >/dev/null && id nobody >/dev/null 2>&1 || exit 0
    as_reader=(setpriv --reuid nobody --regid nogroup --clear-groups)
    chmod 755 . && chmod -R go+rX w
    "${as_reader[@]}" test -x "$CAMBIUM" && "${as_reader[@]}" test -r "$PWD/w/history.db" || exit 0
fi
chmod -R a-w w
for command in "status --json" "log" "score two.ndjson" "generate -p The -n 5" "verify"; do
    # shellcheck disable=SC2086
    expect 0 "${as_reader[@]}" "$CAMBIUM" -C w $command >out 2>err
done
for command in "run --once" "ingest two.ndjson" "eval"; do
    got=0
    # shellcheck disable=SC2086
    "${as_reader[@]}" "$CAMBIUM" -C w $command >out 2>err || got=$?
    [ $got = 77 ] || [ $got = 73 ] || { cat err; fail "read-only: $command: exit code $got"; }
    says "cambium: "
done
