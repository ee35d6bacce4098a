#!/bin/bash
# cambium bench lifelong: arms, their results, resuming.
. "$(dirname "$0")/lib.sh"

sample
sed -n '1p;3p;5p;11p;13p' sample.ndjson >stream.ndjson
sed -n '2p;10p' sample.ndjson >heldout.ndjson
bench() {
    cambium bench lifelong stream.ndjson --probe heldout.ndjson "${TINY[@]}" --jobs 2 "$@"
}

expect 0 bench --dir d --arms naive,joint,lifelong,born-large --svg r.svg --json
domains=$(sqlite3 :memory: "SELECT json_array_length(CAST(readfile('out') AS TEXT), '\$.domains')")
[ "$domains" = 2 ] || fail "two domains in the sample, $domains in the result"
[ "$(field '.arms[0].arm')" = naive ] || fail "the arms keep their order"
for key in final_bpb learned_bpb forgetting bwt fwt prequential_bpb experts flops_per_token tokens_per_s seconds; do
    [ -n "$(field ".arms[0].$key")" ] || fail "arm naive lacks $key"
done
[ -z "$(field '.arms[1].forgetting')" ] || fail "joint has no stages, so it forgets nothing"
[ "$(field '.arms[3].experts')" -ge "$(field '.arms[2].experts')" ] || fail "born-large begins with lifelong's size"
[ "$(field '.arms[0].tokens')" = "$(field '.arms[2].tokens')" ] || fail "arms read different numbers of new tokens"
grep -q '</svg>' r.svg || fail "no heat map"
[ ! -e d/naive-s1 ] || fail "the workspace of a finished run stays only with --keep"
sqlite3 :memory: "SELECT json_extract(x.value, '\$.R') FROM json_each(CAST(readfile('out') AS TEXT), '\$.arms') AS x" >first

# A second call reads what is there; another plan in the same folder is refused.
expect 0 bench --dir d --arms naive,joint,lifelong,born-large --json
sqlite3 :memory: "SELECT json_extract(x.value, '\$.R') FROM json_each(CAST(readfile('out') AS TEXT), '\$.arms') AS x" >second
cmp first second || fail "reading results back changed them"
expect 65 bench --dir d --arms naive --set seed=1 --set train.lr=0.001
says 'another --dir'

# A run killed half-way goes on, and ends with the same R.
"$CAMBIUM" bench lifelong stream.ndjson --probe heldout.ndjson "${TINY[@]}" --jobs 1 \
    --dir e --arms lifelong >out 2>err &
bench=$!
CHILDREN+=($bench)
until [ -e e/lifelong-s1/history.db ] && [ "$(sqlite3 -readonly e/lifelong-s1/history.db \
    'SELECT count(*) FROM steps' 2>/dev/null || echo 0)" -ge 3 ]; do
    kill -0 $bench 2>/dev/null || break
    sleep 0.02
done
pkill -KILL -P $bench || true
wait $bench || true
expect 0 bench --dir e --arms lifelong --json
field '.arms[0].R' >third
sed -n 3p first | cmp - third || fail "a run that was killed ends with another R"

expect 64 bench --arms nonsense
says born-large
expect 64 cambium bench lifelong stream.ndjson
says --probe
expect 66 cambium bench lifelong missing.ndjson --probe heldout.ndjson
