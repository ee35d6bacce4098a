#!/bin/bash
# Commands that change something do and say the same by themselves and beside a running service.
. "$(dirname "$0")/lib.sh"

sample
printf 'Text that nobody trains on, to measure with.\n' >probe.txt
for w in off on; do
    expect 0 cambium init -C $w "${TINY[@]}" "${SMALL_VOCABULARY[@]}" --set probe.share=0 \
        --probe probe.txt
done
"$CAMBIUM" -C on run >service.out 2>service.err &
service=$!
CHILDREN+=($service)
until [ -S on/control.sock ]; do
    kill -0 $service || { cat service.err; fail "the service ended"; }
    sleep 0.05
done

# both CODE ARGUMENTS...: the command with its workspace offline and online, in files off.out ...
both() {
    local code=$1
    shift
    for w in off on; do
        expect "$code" cambium "$@" -C $w
        mv out $w.out && mv err $w.err
    done
}
# same: what was said last is the same; ids of snapshots aside.
same() {
    for w in off on; do
        sed -E "s/\b[0-9a-f]{32} /ID /; s/\b[0-9a-f]{8}\b/ID/g" $w.out >$w.text
    done
    cmp off.text on.text || { diff off.text on.text; fail "offline and online differ: $*"; }
}

both 0 ingest sample.ndjson --json
for w in off on; do # what is pending by now depends on how fast the service is
    [ "$(field .journalled $w.out)" = 14 ] || fail "ingest journalled $(cat $w.out)"
    [ "$(field .rejected $w.out)" = 0 ] || fail "ingest rejected some"
done
both 0 eval --json
same eval
[ "$(field .evaluation on.out)" = 1 ] || fail "no evaluation: $(cat on.out)"
both 0 snapshot -t monday
same snapshot
grep -q 'monday after' on.out || fail "snapshot says nothing"
both 0 config train.lr 0.001
both 0 config feed.max_bytes 8192
both 0 config train.lr
same config
both 0 schedule add "every 5 documents" evaluate
same schedule
both 0 schedule add 9h verify
both 0 schedule remove 2
both 0 feed add http://192.0.2.1/feed --every 2d --name far --later
both 0 feed remove http://192.0.2.1/feed
echo "CREATE VIEW policy_settings (key, value) AS VALUES ('replay.share', 0.25);" >mine.sql
both 0 policy use mine.sql
same policy
both 0 ingest sample.ndjson
grep -q '^duplicates *14$' on.out || fail "the same documents again: $(cat on.out)"
head -n 3 sample.ndjson | sed 's/"text": "/&Once more: /' >more.ndjson
both 0 ingest more.ndjson
both 0 eval
same eval
both 0 rollback monday --requeue --reason "a drill"
sed -i 's/: .*//' off.out on.out # with --requeue the service trains on at once
same rollback
both 0 eval --json
same eval

# Errors: same words, same code.
for refused in "65 feed add file:///etc/passwd" "66 feed remove http://192.0.2.1/feed" \
    "78 schedule add never verify" "66 schedule remove 7" "78 config train.rl 1" \
    "78 config train.lr fast" "78 config model.width 64" "64 snapshot -t -x" \
    "65 snapshot -t monday" "66 quarantine release 999" "66 rollback never" "66 policy use nothing" "66 ingest missing.ndjson"; do
    # shellcheck disable=SC2086
    both $refused
    for w in off on; do
        sed -E "s/snapshot [0-9a-f]{8}/snapshot ID/; /journal row/d; /documents? wait/d" $w.err >$w.text
    done
    cmp off.text on.text || { diff off.text on.text; fail "messages differ: $refused"; }
done
echo 'DROP TABLE journal;' >bad.sql
both 78 policy use bad.sql
cmp off.err on.err || fail "messages of a bad policy differ"
{ head -n 1 more.ndjson | sed 's/Once/Twice/'; echo 'no json'; } >half.ndjson
both 0 ingest half.ndjson --json
grep -q 'half.ndjson: line 2' on.err || fail "a rejected line is not told: $(cat on.err)"
[ "$(field .rejected on.out)" = 1 ] || fail "a rejected line is not counted"
both 0 eval --json
same eval

# The service says that it runs, and for how long, without being asked.
expect 0 cambium -C on status --json
[ "$(field .running)" = $service ] && [ "$(field .service.pid)" = $service ] || fail "status: who"
[ "$(field .service.since)" != "" ] && [ "$(field .service.tokens_per_s)" != "" ] || fail "status"
expect 0 cambium -C on status
has "process $service since 2"

kill -TERM $service
code=0
wait $service || code=$?
[ $code = 0 ] || { cat service.err; fail "SIGTERM: exit code $code"; }
[ ! -e on/control.sock ] || fail "the socket is still there"
expect 0 cambium -C on status --json
[ "$(field .running)$(field .service)" = "" ] || fail "still running?"

# And the two went the same way, row by row.
"$SOURCE_DIR/tools/history-diff" off on >diff.out 2>&1 || { cat diff.out; fail "histories differ"; }

# Held by something that is no service: refused, as ever.
mkfifo slow
"$CAMBIUM" ingest -C off - <slow >/dev/null 2>&1 &
holder=$!
CHILDREN+=($holder)
exec 9>slow
until [ "$("$CAMBIUM" -C off status --json >s.json; field .running s.json)" = $holder ]; do
    kill -0 $holder || fail "ingest ended"
    sleep 0.05
done
for command in eval snapshot "ingest sample.ndjson" "config train.lr 0.002" "rollback monday"; do
    # shellcheck disable=SC2086
    expect 75 cambium -C off $command
    says "is in use by process $holder"
done
exec 9>&-
wait $holder || fail "ingest of nothing failed"

case_of C21_sigterm_in_an_evaluation # the service ends well, the row is not lost
"$CAMBIUM" -C on run >service.out 2>service.err &
service=$!
CHILDREN+=($service)
until [ -S on/control.sock ]; do kill -0 $service || fail "the service ended"; sleep 0.05; done
before=$(sql on "SELECT count(*) FROM v1_journal WHERE kind = 'evaluate'")
"$CAMBIUM" -C on eval >eval.out 2>eval.err &
asking=$!
CHILDREN+=($asking)
until [ "$(sql on "SELECT count(*) FROM v1_journal WHERE kind = 'evaluate'")" -gt "$before" ]; do
    kill -0 $asking || break
    sleep 0.01
done
kill -TERM $service
code=0
wait $service || code=$?
[ $code = 0 ] || { cat service.err; fail "SIGTERM in eval: exit code $code"; }
code=0
wait $asking || code=$?
[ $code = 0 ] || [ $code = 75 ] || { cat eval.err; fail "eval: exit code $code"; }
expect 0 cambium -C on run --once
[ "$(sql on "SELECT count(*) FROM v1_journal WHERE kind = 'evaluate' AND outcome IS NULL AND
    position > (SELECT max(position) FROM v1_journal WHERE kind = 'rollback')")" = 0 ] ||
    fail "an evaluation was asked for and never made"
