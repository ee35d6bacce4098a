#!/bin/bash
# What is held back can be looked at, let in (once) or dropped, and two ingests of one file agree.
. "$(dirname "$0")/lib.sh"

sample
head -n 6 sample.ndjson >in.ndjson
words=$(for i in $(seq 120); do printf 'stone%s river%s ' "$((i * 7 % 31))" "$((i * 13 % 29))"; done)
{
    printf '{"id":"a","title":"short","text":"too short"}\n'
    printf '{"id":"b","title":"\\u001b]0;evil\\u0007 %%n%%s","text":"%s"}\n' "$(printf 'spam %.0s' $(seq 400))"
    printf '{"id":"c","title":"one","text":"%s"}\n' "$words"
    printf '{"id":"d","title":"two","text":"%s"}\n' "${words^^}"
} >>in.ndjson
for w in w v; do
    expect 0 cambium init -C $w "${TINY[@]}" "${SMALL_VOCABULARY[@]}" --set probe.share=0
    expect 0 cambium ingest -C $w in.ndjson --json
    [ "$(field .quarantined)" = 3 ] || { cat out; fail "three are held back"; }
done

expect 0 cambium quarantine list -C w
[ "$(wc -l <out)" = 3 ] || fail "list"
has "too short"
has "one unit of 5 bytes repeated"
has "near duplicate of document 9"
! grep -q $'\033' out || fail "P09: an escape reached the terminal"
expect 0 cambium quarantine list -C w --json
[ "$(wc -l <out)" = 3 ] || fail "list --json"
tail -n 1 out >one.json
[ "$(field .near_duplicate_of one.json)" = 9 ] || fail "near_duplicate_of"
expect 0 cambium quarantine show -C w 8
has "one unit of 5 bytes"
has "spam spam"
! grep -q $'\033' out || fail "P09: an escape reached the terminal"
expect 0 cambium quarantine show -C w 8 --json
[ "$(field .document)" = 8 ] || fail "show --json"
expect 66 cambium quarantine show -C w 99
expect 64 cambium quarantine show -C w x
expect 64 cambium quarantine release -C w
expect 65 cambium quarantine release -C w 1
says "not quarantined"
expect 66 cambium quarantine drop -C w 99

for w in w v; do
    expect 0 cambium quarantine drop -C $w 7 --reason "nothing in it"
    expect 0 cambium quarantine release -C $w 10 --reason "looked at it"
    expect 0 cambium run -C $w --once --flush
    check_sum $w
    [ "$(field .documents.quarantined)" = 1 ] || fail "one is left"
    [ "$(field .documents.set_aside)" = 1 ] || fail "one is dropped"
    [ "$(field .documents.trained)" = 8 ] || fail "the released one is trained"
done
expect 65 cambium quarantine release -C w 10
expect 0 cambium quarantine list -C w
[ "$(wc -l <out)" = 1 ] || fail "list shows what is still held"
expect 0 cambium quarantine list -C w --all
[ "$(wc -l <out)" = 2 ] || fail "list --all"
has "nothing in it"
[ "$(sql w "SELECT group_concat(kind || document) FROM (SELECT * FROM v1_journal WHERE kind IN ('release', 'drop') ORDER BY position)")" = drop7,release10 ] ||
    fail "both are rows of the journal"
cambium -C w status --json
hash=$(field .model_hash)
cambium -C v status --json
[ "$(field .model_hash)" = "$hash" ] || fail "the same journal, another model"
"$SOURCE_DIR/tools/history-diff" w v || fail "the same journal, another history"
