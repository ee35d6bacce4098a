#!/bin/bash
# init: what it refuses it refuses before making anything; a second one is refused.
. "$(dirname "$0")/lib.sh"

refused() {
    local code=$1
    shift
    expect "$code" cambium init -C w "$@"
    [ ! -e w ] || fail "init $* left something behind"
}
refused 78 --preset huge
says "nano, small or base"
refused 78 --set modle.width=32
says "did you mean model.width?"
refused 78 --set model.width=many
refused 78 --set model.width=8
refused 78 --set model.width=32 --set model.heads=5
refused 78 --set train.optimizer=sgd
refused 78 --set model.ff=peer+pkm
says "dense, moe, pkm, peer"
refused 78 --set model.activation=relu
says "swiglu or gelu"
refused 78 --set moe.experts=1
refused 66 --probe missing.ndjson
says "missing.ndjson"
printf 'not json\n' >bad.ndjson
refused 65 --probe bad.ndjson
says "bad.ndjson: line 1"
refused 66 --tokenizer-from missing.txt
refused 66 --policy nonsense
says "lifelong"

sample
{ head -n 1 sample.ndjson; tail -n 1 sample.ndjson; } >probe.ndjson
expect 0 cambium init -C w "${TINY[@]}" --set seed=7 --probe probe.ndjson --policy naive
silent err
for word in parameters "active a token" "FLOP a token" memory experts naive "2 documents"; do
    has "$word"
done
[ "$(sql w "SELECT value FROM v1_settings WHERE key = 'seed'")" = 7 ] || fail seed
[ "$(sql w "SELECT group_concat(name) FROM (SELECT name FROM v1_probes ORDER BY name)")" = \
    kjv,sqlite ] || fail "probes are named by domain"
check_sum w
[ "$(field .documents.held_out)" = 2 ] || fail "probe documents are held out"

expect 73 cambium init -C w
says "is a workspace already"
[ "$(sql w "SELECT value FROM v1_settings WHERE key = 'seed'")" = 7 ] || fail "init touched it"

# What is in a probe is never trained on.
expect 0 cambium ingest -C w sample.ndjson --json
[ "$(field .contaminations)" = 2 ] || { cat out; fail "documents of a probe were let in"; }
[ "$(field .journalled)" = 12 ] || fail "the others are journalled"

# A tokenizer of one's own.
expect 0 cambium init -C own "${TINY[@]}" "${SMALL_VOCABULARY[@]}"
has "bpe, 600 tokens"
expect 0 cambium score -C own probe.ndjson --json
cp out own.json
expect 0 cambium score -C w probe.ndjson --json
[ "$(field .tokens)" != "$(field .tokens own.json)" ] || fail "the tokenizer is the default one"
[ "$(field .bytes)" = "$(field .bytes own.json)" ] || fail "bytes depend on the tokenizer"

# Other feed-forward kinds: what they print, and that they train.
expect 0 cambium init -C moe "${TINY[@]}" "${SMALL_VOCABULARY[@]}" --set model.ff=moe --set moe.experts=4
has "0 in pools, 8 in mixtures"
expect 0 cambium init -C pkm "${TINY[@]}" "${SMALL_VOCABULARY[@]}" --set model.ff=dense,dense+pkm
has "experts     64"
head -n 1 sample.ndjson >one.ndjson
for w in moe pkm; do
    expect 0 cambium ingest -C $w one.ndjson
    expect 0 cambium run -C $w --once --flush
    expect 0 cambium score -C $w one.ndjson --json
    [ "$(field .nll)" != "" ] || fail "no score from $w"
done

# Killed half-way it leaves no workspace, and the next init begins anew.  A pipe is read twice, once
# to check it and once when everything else is made, so the second reading is the middle of it.
mkfifo pipe.ndjson
"$CAMBIUM" init -C half "${TINY[@]}" "${SMALL_VOCABULARY[@]}" --set seed=5 --probe pipe.ndjson \
    >/dev/null 2>half.err &
init=$!
CHILDREN+=($init)
cat probe.ndjson >pipe.ndjson
until [ -n "$(sql half "SELECT 1 FROM v1_policies WHERE in_force" 2>/dev/null)" ]; do
    kill -0 $init || { cat half.err; fail "init ended"; }
    sleep 0.05
done
kill -KILL $init
wait $init || true
for command in "status" "run --once" "ingest sample.ndjson"; do
    # shellcheck disable=SC2086
    expect 66 cambium -C half $command
    says "run: cambium init"
done
expect 0 cambium init -C half "${TINY[@]}" "${SMALL_VOCABULARY[@]}" --set seed=6 --probe probe.ndjson
silent err
[ "$(sql half "SELECT value FROM v1_settings WHERE key = 'seed'")" = 6 ] || fail "the old seed"
[ "$(sql half "SELECT count(*) FROM v1_documents")" = 2 ] || fail "probes came twice"
expect 0 cambium verify -C half
expect 73 cambium init -C half
