#!/bin/bash
# With the real PyTorch: same inputs, same picks.  Skipped (77) where python3-torch is missing.
. "$(dirname "$0")/lib.sh"
/usr/bin/python3 -c 'import torch' 2>/dev/null || exit 77

expect 0 cambium bench peer --experts 1024 --width 32 --heads 2 --top-k 4 --key-width 16 \
    --tokens 64 --repeat 1 --threads 1 --vs-torch --json
[ "$(field .rows[0].unique_rows)" = "$(field .rows[0].torch.unique_rows)" ] ||
    fail "PyTorch picked $(field .rows[0].torch.unique_rows) experts"
sqlite3 :memory: "SELECT 1 / (json_extract(CAST(readfile('out') AS TEXT), '\$.rows[0].vs_torch') > 0)" |
    grep -qx 1 || fail "vs_torch"

expect 0 cambium bench train --set model.width=32 --set model.blocks=2 --set model.heads=2 \
    --set model.kv_heads=1 --set model.hidden=32 --set model.context=16 --set train.rows=2 \
    --set peer.heads=2 --set peer.top_k=4 --set peer.key_width=16 --set model.conv=true \
    --experts 64 --repeat 1 --threads 1 --ff dense --ff peer --ff dense+peer --vs-torch --json
[ "$(sqlite3 :memory: "SELECT count(*) FROM json_each(CAST(readfile('out') AS TEXT), '\$.rows')
    WHERE json_extract(value, '\$.vs_torch') > 0")" = 3 ] || fail "three comparisons"
