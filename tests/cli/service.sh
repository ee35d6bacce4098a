#!/bin/bash
# A service left running: it polls what is due, fires schedules, takes its policy file again on
# SIGHUP and ends with SIGTERM.
. "$(dirname "$0")/lib.sh"
: "${FEED_SERVER:?}"

sample
serve
head -n 3 sample.ndjson >feeds/f.ndjson
printf 'Text that nobody trains on, to measure with.\n' >probe.txt
expect 0 cambium init -C w "${TINY[@]}" "${SMALL_VOCABULARY[@]}" --set probe.share=0 \
    --probe probe.txt
expect 0 cambium feed add -C w "$BASE/f.ndjson" --every 1s
expect 0 cambium schedule add -C w 1s evaluate
policy() {
    echo "CREATE VIEW policy_settings (key, value) AS VALUES ('replay.share', $1);" >mine.sql
}
policy 0.1

"$CAMBIUM" run -C w --allow-host 127.0.0.1 --policy mine.sql >service.out 2>service.err &
service=$!
CHILDREN+=($service)
until_true() { # QUERY: waits while the service lives
    until [ "$(sql w "$1")" = 1 ]; do
        kill -0 $service 2>/dev/null || { cat service.err; fail "the service ended before: $1"; }
        sleep 0.05
    done
}
until_true "SELECT count(*) = 3 FROM v1_documents WHERE feed IS NOT NULL"
until_true "SELECT count(*) >= 2 FROM v1_documents WHERE state = 'trained'"
until_true "SELECT count(*) >= 1 FROM v1_evaluations WHERE reason = 'schedule 1' OR evaluation > 0"
until_true "SELECT count(*) = 1 FROM v1_policies WHERE in_force AND name = 'mine'"

# A changed feed is noticed at the next poll.
head -n 6 sample.ndjson >feeds/next && mv feeds/next feeds/f.ndjson
until_true "SELECT count(*) = 6 FROM v1_documents WHERE feed IS NOT NULL"

case_of C22_sighup_with_a_bad_policy
# A good file is taken, a bad one is not, and one that did not change is no new row.
policy 0.3
kill -HUP $service
until_true "SELECT text LIKE '%0.3%' FROM v1_policies WHERE in_force"
uses=$(sql w "SELECT count(*) FROM v1_journal WHERE kind = 'policy'")
echo 'DROP TABLE journal;' >mine.sql
kill -HUP $service
until grep -q 'the old policy stays' service.err; do
    kill -0 $service || fail "a bad policy ended the service"
    sleep 0.05
done
policy 0.3
kill -HUP $service
until [ "$(grep -c 'SIGHUP: policy mine.sql taken again' service.err)" = 2 ]; do sleep 0.05; done
[ "$(sql w "SELECT count(*) FROM v1_journal WHERE kind = 'policy'")" = "$uses" ] ||
    fail "the same policy again is no change"

kill -TERM $service
code=0
wait $service || code=$?
[ $code = 0 ] || { cat service.err; fail "SIGTERM: exit code $code"; }
grep -q 'stopped by a signal' service.err || fail "it does not say why it ended"
check_sum w
[ "$(field .snapshot)" != "" ] || fail "no checkpoint"
before=$(field .step)
expect 0 cambium run -C w --once --allow-host 127.0.0.1
grep -q 'are done again' err && fail "steps were lost by SIGTERM"
expect 0 cambium status -C w --json
[ "$(field .step)" -ge "$before" ] || fail "the next run went back"
