#!/bin/bash
# Settings, policies, schedules, snapshots and rollback as a person uses them.
. "$(dirname "$0")/lib.sh"

sample
head -n 8 sample.ndjson >kjv.ndjson
tail -n 6 sample.ndjson >sqlite.ndjson
{ head -n 1 kjv.ndjson; head -n 1 sqlite.ndjson; } >probe.ndjson
expect 0 cambium init -C w "${TINY[@]}" "${SMALL_VOCABULARY[@]}" --set probe.share=0 --probe probe.ndjson

# config
expect 0 cambium config -C w train.lr
grep -qx '0\.[0-9]*' out || fail "config KEY prints the value alone"
expect 0 cambium config -C w train.lr 0.0021
expect 0 cambium config -C w train.lr
has 0.0021
expect 0 cambium config -C w replay.share -1
expect 78 cambium config -C w train.lrr 1
says "did you mean train.lr?"
expect 78 cambium config -C w train.lr -3
expect 78 cambium config -C w model.width 64
expect 78 cambium config -C w policy naive
says "cambium policy use"
expect 0 cambium config -C w
has "feed.max_bytes"

# policy
expect 0 cambium policy list -C w
grep -q '^\* lifelong' out || fail "lifelong is in force"
expect 0 cambium policy show -C w naive
has "CREATE VIEW"
expect 66 cambium policy use -C w nonsense
echo 'DROP TABLE journal' >bad.sql
expect 78 cambium policy use -C w bad.sql
cat >eager.sql <<'END'
-- eager: grows after the second document, for this test.
CREATE VIEW policy_settings (key, value) AS VALUES ('replay.share', 0.25);
CREATE VIEW decide_grow (layer, amount, reason, evidence) AS
SELECT -1, 4, 'two documents', json_object('documents', count(*)) FROM v1_trained
WHERE NOT EXISTS (SELECT 1 FROM v1_decisions WHERE kind = 'grow') HAVING count(*) >= 2;
END
expect 0 cambium policy use -C w eager.sql
grep -q '^\* eager' out || fail "eager is in force"

# schedule
expect 0 cambium schedule add -C w "every 3 documents" evaluate
has "schedule 1"
expect 78 cambium schedule add -C w "now and then" evaluate
expect 0 cambium schedule add -C w 6h snapshot
expect 0 cambium schedule remove -C w 2
expect 0 cambium schedule list -C w --json
[ "$(wc -l <out)" = 1 ] || fail "schedule list"
has '"last_due_at": null'

# A policy that would grow is not asked.
cp -a w held
expect 78 cambium config -C held policy.ignore grow,dance
says "dance is no decision"
expect 0 cambium config -C held policy.ignore grow
expect 0 cambium ingest -C held kjv.ndjson
expect 0 cambium run -C held --once --flush
expect 0 cambium status -C held --json
[ "$(field .experts)" = 64 ] || fail "the pool grew although policy.ignore says grow"

# Train, evaluate, snapshot.
expect 0 cambium ingest -C w kjv.ndjson
expect 0 cambium run -C w --once --flush
says "steps trained"
expect 0 cambium status -C w --json
[ "$(field .experts)" = 144 ] || { cat out; fail "the pool did not grow to 12 x 12"; }
[ "$(field .generations)" = 2 ] || fail "generations"
[ "$(sql w "SELECT count(*) > 0 FROM v1_decisions WHERE origin = 'schedule 1'")" = 1 ] ||
    fail "the schedule did not fire"
expect 0 cambium eval -C w --json
cp out before.json
[ "$(sqlite3 :memory: "SELECT count(*) FROM json_each(CAST(readfile('out') AS TEXT), '\$.probes')
    WHERE value ->> 'bits_per_byte' > 0 AND value ->> 'bytes' > 0 AND value ->> 'tokens' > 0
    AND value ->> 'nll' > 0 AND value ->> 'probe' IN ('kjv', 'sqlite')")" = 2 ] || fail "eval --json"
expect 0 cambium snapshot -C w -t learned
expect 65 cambium snapshot -C w -t learned
says "learned"
expect 0 cambium snapshots -C w --json
for key in id tag lineage created documents bytes_unique bytes_shared model_hash; do
    [ -n "$(field "[0].$key")" ] || fail "snapshots lacks $key"
done
hash=$(field "[0].model_hash")
documents=$(field "[0].documents")

# Learn something else, then go back: the scores are the same to the last digit.
expect 0 cambium ingest -C w sqlite.ndjson
expect 0 cambium eval -C w --json
says "documents that wait are trained first"
[ "$(field '.probes[0].nll')" != "$(field '.probes[0].nll' before.json)" ] || fail "nothing learned"
expect 66 cambium rollback -C w no-such-tag
expect 0 cambium rollback -C w learned --requeue
check_sum w
[ "$(field .model_hash)" = "$hash" ] || fail "the model is not that of the snapshot"
[ "$(field .lineage)" = 2 ] || fail "a rollback opens a lineage"
[ "$(field .documents.trained)" = "$documents" ] || fail "trained"
[ "$(field .documents.set_aside)" = 0 ] || fail "requeue sets nothing aside"
[ "$(field .documents.pending)" = 5 ] || fail "requeue: the five wait again"
expect 0 cambium run -C w --once --flush
check_sum w
[ "$(field .documents.pending)" = 0 ] || fail "the requeued ones are trained"
expect 0 cambium config -C w train.lr 0.0005
expect 0 cambium rollback -C w learned --set-aside --reason "test"
has "train.lr went back from 0.0005 to 0.0021"
says "schedules, feeds"
cambium config -C w train.lr
has 0.0021
check_sum w
[ "$(field .documents.set_aside)" = 5 ] || fail "set aside"
[ "$(field .model_hash)" = "$hash" ] || fail "the model is not that of the snapshot"
expect 0 cambium eval -C w --json
for i in 0 1; do
    [ "$(field ".probes[$i].nll")" = "$(field ".probes[$i].nll" before.json)" ] ||
        fail "probe $i scores differently after the rollback"
done
[ "$(sql w 'SELECT count(*) FROM v1_lineages')" = 3 ] || fail "lineages"

# Reading it all back.
expect 0 cambium log -C w -n 0
for word in trained grown evaluated snapshot rollback decided; do
    grep -qE "^ *[0-9,]+  $word " out || fail "log lacks $word"
done
expect 0 cambium log -C w -n 0 --json
sqlite3 :memory: "SELECT value ->> 'lineage', value ->> 'step' FROM json_each('[' ||
    replace(trim(CAST(readfile('out') AS TEXT), char(10)), char(10), ',') || ']')" >order
sort -s -t '|' -k 1,1n -k 2,2n order | cmp - order || fail "log is out of step order"
[ "$(cut -d '|' -f 1 order | sort -u | tr '\n' ' ')" = "1 3 " ] || fail "log of a dead lineage"
expect 0 cambium log -C w -n 3 --json
[ "$(wc -l <out)" = 3 ] || fail "log -n"
expect 0 cambium verify -C w --read-data
expect 0 cambium generate -C w -p "And the LORD" -n 20 --seed 5
cp out one
expect 0 cambium generate -C w -p "And the LORD" -n 20 --seed 5
cmp -s out one || fail "the same seed, another text"
expect 0 cambium generate -C w -p "And" -n 20 --temperature 0 --json
[ -n "$(field .text)" ] || fail "generate --json"
expect 0 cambium score -C w kjv.ndjson --json
for key in bytes tokens nll bits_per_byte; do
    [ -n "$(field ".$key")" ] || fail "score lacks $key"
done

# snapshots, diff, prune
expect 0 cambium snapshot -C w
expect 0 cambium snapshots -C w
grep -q '^lineage 1$' out && grep -q '^    lineage 3, from step .* of lineage 1 (current)$' out ||
    { cat out; fail "no tree"; }
grep -qE '^[0-9a-f]{12}  .*B own, .*; [0-9.]+ new; [0-9.]+ held out  learned$' out ||
    { cat out; fail "no figures"; }
expect 0 cambium diff -C w learned --json
[ "$(field .documents.added)" = 0 ] && [ "$(field .documents.removed)" = 0 ] || fail "diff: documents"
[ "$(field '.layers[0].changed')" = 0 ] || { cat out; fail "the rollback changed experts"; }
cp -a w other
{ cat kjv.ndjson sqlite.ndjson; } | sed 's/"text": "/&In other words, said twice and changed: /' >other.ndjson
expect 0 cambium config -C other document.near_bits -1
expect 0 cambium config -C other train.lr 0.0007
expect 0 cambium ingest -C other other.ndjson
expect 0 cambium run -C other --once
expect 0 cambium eval -C other
expect 0 cambium snapshot -C other -t later
expect 0 cambium diff -C other learned later -v --json
[ "$(field .documents.added)" -ge 8 ] || { cat out; fail "diff: added"; }
[ "$(field '.documents.list[0].change')" = added ] || fail "diff -v"
[ "$(field '.layers[0].changed')" -gt 10 ] || fail "diff: changed"
[ "$(field '.settings."train.lr"[0]')" = 0.0021 ] && [ "$(field '.settings."train.lr"[1]')" = 0.0007 ] ||
    { cat out; fail "diff: settings"; }
[ "$(field '.probes[0].bits_per_byte[0]')" != "$(field '.probes[0].bits_per_byte[1]')" ] || fail "diff: probes"
expect 0 cambium diff -C other later learned
has "0 added"
expect 66 cambium diff -C other nothing later
before=$(du -sb other/objects | cut -f 1)
expect 0 cambium snapshot -C other
expect 0 cambium prune -C other --keep-last 0
says "nothing was changed"
has "keep"
expect 0 cambium prune -C other --keep-last 0 --yes --json
[ "$(field .removed)" = 1 ] || { cat out; fail "prune: the tagged and the newest stay"; }
expect 0 cambium prune -C other --keep-last 0 --yes
has "removed 0 of"
[ "$(du -sb other/objects | cut -f 1)" -le "$before" ] || fail "prune gave nothing back"
expect 0 cambium verify -C other --read-data
expect 64 cambium prune -C other --max-bytes lots

# recover
expect 0 cambium recover -C other --yes
says "nothing is recovered"
dd if=/dev/urandom of=other/history.db bs=4096 count=1 conv=notrunc 2>/dev/null
expect 65 cambium status -C other
says "cambium recover"
expect 0 cambium recover -C other
has "gone"
expect 0 cambium recover -C other --yes
[ -e other/history.db.damaged-1 ] || fail "the old file is gone"
expect 0 cambium verify -C other --read-data
expect 0 cambium rollback -C other later
expect 0 cambium config -C other train.lr
has 0.0007
expect 0 cambium ingest -C other kjv.ndjson
expect 0 cambium run -C other --once --flush
check_sum other
rm -rf other

# verify tells of a newest state that is damaged, although an older one loads.
cp -a w damaged
printf '{"id":"new","domain":"kjv","text":"%s"}\n' "$(tr -d '\n"\\' <"$SOURCE_DIR/LICENSE")" >new.ndjson
expect 0 cambium ingest -C damaged new.ndjson
expect 0 cambium run -C damaged --once --flush
newest=$(ls -t damaged/objects/*.cpk | head -n 1)
truncate -s 100 "$newest"
expect 65 cambium verify -C damaged
has "does not verify"
