#!/bin/bash
# resume.sh KILL|TERM|threads|random: a run that was stopped or killed again and again, or that used another
# number of threads, ends with the same model and history as one left alone.
. "$(dirname "$0")/lib.sh"

how=$1
sample
cp "$SOURCE_DIR/LICENSE" probe.txt
cat >busy.sql <<'END'
-- busy: replays, grows, evaluates, snapshots and freezes early, for this test.
CREATE VIEW policy_settings (key, value) AS VALUES ('replay.share', 0.25);
CREATE VIEW policy_count (n) AS SELECT count(*) FROM v1_trained;
CREATE VIEW decide_grow (layer, amount, reason, evidence) AS
SELECT -1, 4, 'three documents', json_object('n', n) FROM policy_count
WHERE n >= 3 AND NOT EXISTS (SELECT 1 FROM v1_decisions WHERE kind = 'grow');
CREATE VIEW decide_freeze (layer, amount, reason, evidence) AS
SELECT -1, 0, 'seven documents', json_object('n', n) FROM policy_count
WHERE n >= 7 AND NOT EXISTS (SELECT 1 FROM v1_decisions WHERE kind = 'freeze');
CREATE VIEW decide_snapshot (reason, evidence) AS
SELECT 'five documents', json_object('n', n) FROM policy_count
WHERE n >= 5 AND NOT EXISTS (SELECT 1 FROM v1_decisions WHERE kind = 'snapshot');
END

prepare() { # WORKSPACE THREADS
    expect 0 cambium init -C "$1" "${TINY[@]}" "${SMALL_VOCABULARY[@]}" --set threads="$2" --set probe.share=0.2 \
        --set grow.ramp_steps=8 --probe probe.txt
    expect 0 cambium policy use -C "$1" busy.sql
    expect 0 cambium schedule add -C "$1" "4 documents" evaluate
    expect 0 cambium ingest -C "$1" sample.ndjson
}

# Ends the service about every 8 steps until there is nothing left to do.
run_interrupted() { # WORKSPACE SIGNAL
    local times=0 step=0 service
    while :; do
        "$CAMBIUM" -C "$1" run --once >run.out 2>run.err &
        service=$!
        CHILDREN+=($service)
        wait_for_step "$1" $((step + 8)) $service
        kill -"$2" $service 2>/dev/null && times=$((times + 1))
        code=0
        wait $service 2>/dev/null || code=$?
        [ "$2" = KILL ] || [ $code = 0 ] || { cat run.err; fail "exit code $code"; }
        "$CAMBIUM" -C "$1" status --json >s.json
        step=$(field .step s.json)
        if [ "$2" = TERM ]; then
            grep -q 'stopped by a signal' run.err || break
        else
            [ $code != 0 ] || break
        fi
    done
    echo "interrupted $times times"
    [ $times -ge 2 ] || fail "the run was over before it could be interrupted"
}

# Kills the service 200 times, each a random 10 to 500 ms after its start.  The seed is fixed; where
# in the work a kill falls differs from machine to machine, what must come of it does not.
run_killed_at_random() { # WORKSPACE
    case_of C01_killed_200_times_at_random
    RANDOM=1
    for _ in $(seq 200); do
        "$CAMBIUM" -C "$1" run --once >run.out 2>run.err &
        service=$!
        sleep "$(printf '0.%03d' $((10 + RANDOM % 490)))"
        kill -KILL $service 2>/dev/null || true
        wait $service 2>/dev/null || true
    done
    expect 0 cambium run -C "$1" --once
}

prepare a 1
expect 0 cambium run -C a --once
prepare b "$([ "$how" = threads ] && echo 2 || echo 1)"
case $how in
KILL | TERM) run_interrupted b "$how" ;;
random) run_killed_at_random b ;;
threads) expect 0 cambium run -C b --once ;;
esac
for w in a b; do
    expect 0 cambium eval -C $w # acts on what is left, and is itself a row of both
    expect 0 cambium run -C $w --once --flush
    check_sum $w
    cp out $w.json
done
[ "$(field .model_hash a.json)" = "$(field .model_hash b.json)" ] || fail "the models differ"
"$SOURCE_DIR/tools/history-diff" a b || fail "the histories differ"

# The comparison can fail, and the run was worth comparing.
[ "$(sql a 'SELECT count(*) FROM v1_decisions')" -ge 4 ] || fail "too few decisions"
[ "$(sql a 'SELECT count(*) FROM v1_generations WHERE generation > 0')" -ge 1 ] || fail "no growth"
[ "$(sql a 'SELECT count(*) FROM v1_evaluations')" -ge 2 ] || fail "no evaluation"
expect 0 cambium eval -C b
! "$SOURCE_DIR/tools/history-diff" a b >/dev/null || fail "history-diff sees no difference"
expect 0 cambium verify -C b --read-data
