#!/bin/bash
# The benchmarks as a user runs them, at sizes that take no time: keys, types, refusals.
. "$(dirname "$0")/lib.sh"

LAYER=(--experts 64,256 --width 32 --heads 2 --top-k 4 --key-width 16 --tokens 32 --repeat 1
    --threads 1)

expect 0 cambium bench peer "${LAYER[@]}" --growth --json
[ "$(field .config.benchmark)" = peer ] || fail "config.benchmark"
[ -n "$(field .config.machine.cpu)" ] && [ -n "$(field .config.optimizer_rows)" ] || fail "config"
[ "$(field .rows[0].experts),$(field .rows[1].experts)" = 64,256 ] || fail "two rows"
[ "$(field .rows[1].width),$(field .rows[1].tokens)" = 32,32 ] || fail "shape"
[ -z "$(field .rows[0].vs_torch)" ] || fail "vs_torch is not null"
for key in forward_tokens_per_s step_tokens_per_s gb_per_s gflops share_of_limit rss_bytes \
    limits.fma_gflops.median limits.random_gb_per_s.median us_per_token.backward.median \
    unique_rows growth.seconds; do
    sqlite3 :memory: "SELECT 1 / (json_extract(CAST(readfile('out') AS TEXT),
        '\$.rows[1].$key') > 0)" | grep -qx 1 || fail "rows[1].$key is not a positive number"
done
[ "$(field .rows[1].growth.chunks_moved)" = 0.0 ] || fail "rows moved"

expect 0 cambium bench peer "${LAYER[@]}" --routing both --optimizer muon
has "64 experts, uniform routing"
has "256 experts, trained routing"
has "Muon (query)"
has "% of the limit"
has "step at 256 experts over 64:"

TINY_MODEL=(--set model.width=32 --set model.blocks=2 --set model.heads=2 --set model.kv_heads=1
    --set model.hidden=32 --set model.context=16 --set train.rows=2 --set peer.heads=2
    --set peer.top_k=4 --set peer.key_width=16 --experts 64 --repeat 1 --threads 1)
expect 0 cambium bench train "${TINY_MODEL[@]}" --vs-plain --json
[ "$(field .rows[0].ff)" = dense ] || fail "ff"
for key in tokens_per_s mflop_per_token gflops share_of_peak vs_plain us_per_token.update.median; do
    sqlite3 :memory: "SELECT 1 / (json_extract(CAST(readfile('out') AS TEXT),
        '\$.rows[0].$key') > 0)" | grep -qx 1 || fail "rows[0].$key is not a positive number"
done
expect 0 cambium bench peer "${LAYER[@]}" --bf16 --json
[ "$(field .config.products)" = bf16 ] || fail "products of the layer"
expect 0 cambium bench peer "${LAYER[@]}" --bf16-rows --growth
has "in bfloat16, rounded by chance"
has "outputs changed by 0.0e+00"
expect 0 cambium bench train "${TINY_MODEL[@]}" --bf16
has "products bf16"
has "bf16, "
expect 0 cambium bench train "${TINY_MODEL[@]}" --ff peer --ff dense+peer
has "dense,peer: "
has "dense,dense+peer: "
has "64 experts"

expect 0 cambium bench kernels --experts 256 --width 32 --tokens 16 --repeat 1 --threads 1 --json
[ "$(field .config.benchmark)" = kernels ] || fail "kernels"
[ "$(field '.rows[0].unit')" = GFLOP/s ] || fail "unit"
[ "$(field .config.products)" = fp32 ] || fail "products of the kernels"
expect 0 cambium bench kernels --experts 256 --width 32 --tokens 16 --repeat 1 --threads 1 --bf16

expect 0 cambium bench ingest --documents 40 --bytes 300 --repeat 2 --json
[ "$(field .config.benchmark)" = ingest ] || fail "ingest"
[ "$(field .rows[0].format),$(field .rows[1].format)" = ndjson,atom ] || fail "two formats"
for i in 0 1; do
    [ "$(field .rows[$i].documents),$(field .rows[$i].journalled)" = 40,40 ] || fail "documents"
    for key in read_mb_per_s.median journal_mb_per_s.low journal_cpu_mb_per_s.high; do
        sqlite3 :memory: "SELECT 1 / (json_extract(CAST(readfile('out') AS TEXT),
            '\$.rows[$i].$key') > 0)" | grep -qx 1 || fail "rows[$i].$key is not a positive number"
    done
done
printf '{"text":"a document of some words"}\n{"text":"a document of some words"}\n' > two.ndjson
mkdir tmp
TMPDIR=$PWD/tmp expect 0 cambium bench ingest two.ndjson --repeat 1
has "ndjson, two.ndjson: "
has "2 documents, 1 journalled"
[ -z "$(ls tmp)" ] || fail "a workspace was left"
expect 66 cambium bench ingest none.ndjson
expect 64 cambium bench ingest --bytes 1

# What cannot be measured is refused, by name.
expect 64 cambium bench
says "bench needs peer, train, kernels"
expect 64 cambium bench poor
expect 64 cambium bench peer more
expect 64 cambium bench peer --experts 1000
says "the nearest are 961 and 1024"
expect 64 cambium bench peer --experts -4
expect 64 cambium bench peer --experts 64,
expect 64 cambium bench peer --routing wild
expect 64 cambium bench peer --tokens 0
expect 64 cambium bench train --set width
expect 78 cambium bench train --set model.colour=red
expect 78 cambium bench train --preset huge
expect 78 cambium bench train "${TINY_MODEL[@]}" --ff tree
expect 78 cambium bench train "${TINY_MODEL[@]}" --ff peer --vs-plain
says "plain trainer"
expect 78 cambium bench peer "${LAYER[@]}" --experts 4
expect 69 cambium bench peer "${LAYER[@]}" --python /no/such/python
says "/no/such/python"
printf '#!/bin/sh\necho missing torch\n' >python && chmod +x python
expect 69 cambium bench train "${TINY_MODEL[@]}" --python "$PWD/python"
says "install python3-torch"
