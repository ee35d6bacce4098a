#!/bin/bash
# why and policy try: questions about the past that change nothing.
. "$(dirname "$0")/lib.sh"

sample
head -n 3 sample.ndjson >few.ndjson
printf '{"domain":"odd","title":"red \\u001b[31m title","text":"%s"}\n' \
    "$(printf 'The odd one says the same again, and then again. %.0s' $(seq 1 40))" >>few.ndjson
cat >mine.sql <<'END'
-- mine: grows once, evaluates now and then.
CREATE VIEW policy_settings (key, value) AS VALUES ('replay.share', 0.25), ('every', 2);
CREATE VIEW decide_evaluate (reason, evidence) AS
SELECT 'regular', json_object('documents', n) FROM (SELECT count(*) AS n FROM v1_trained)
WHERE n - coalesce((SELECT max(json_extract(evidence, '$.documents')) FROM v1_decisions
                    WHERE kind = 'evaluate'), 0)
    >= (SELECT value FROM policy_settings WHERE key = 'every');
CREATE VIEW decide_grow (layer, amount, reason, evidence) AS
SELECT -1, 4, 'a document', '{}'
WHERE EXISTS (SELECT 1 FROM v1_trained)
    AND NOT EXISTS (SELECT 1 FROM v1_decisions WHERE kind IN ('grow', 'evaluate'));
END
expect 0 cambium init -C w "${TINY[@]}" "${SMALL_VOCABULARY[@]}" --set probe.share=0 --set peer.subkeys=8
expect 64 cambium why -C w
expect 0 cambium why -C w -p 'nothing was taught yet'
has "no document on record"
expect 0 cambium policy use -C w mine.sql
expect 0 cambium ingest -C w few.ndjson
expect 0 cambium run -C w --once --flush

# why
expect 0 cambium why -C w -p 'The odd one says the same again.'
has "block 1"
has "taught by"
has "of generation 0"
grep -q "$(printf '\033')" out && fail "a title drives the terminal"
expect 0 cambium why -C w -p 'The odd one says the same again.' --json --experts 2 --documents 1
[ "$(field '.experts[1].layer')" = 1 ] && [ -z "$(field '.experts[2]')" ] || fail "--experts 2"
[ -z "$(field '.documents[1]')" ] || fail "--documents 1"
[ "$(field '.experts[0].i')" -lt 16 ] || fail "sub-keys"
for document in $(sqlite3 :memory: "SELECT json_extract(d.value, '\$.document') FROM
    json_each(CAST(readfile('out') AS TEXT), '\$.experts') AS e, json_each(e.value, '\$.documents') AS d"); do
    [ "$(sql w "SELECT count(*) FROM v1_provenance WHERE document = $document")" -gt 0 ] ||
        fail "document $document taught nothing"
done
expect 65 cambium why -C w -p "$(head -c 70000 /dev/zero | tr '\0' x)"
expect 64 cambium why -C w -p x --experts 1000

# policy try: the policy in force gives what is on record, others do not, and nothing changes.
sql w "SELECT step || ' ' || kind || ' ' || reason FROM v1_decisions ORDER BY decision" >record
[ -s record ] || fail "nothing was decided"
before=$(sql w 'SELECT count(*), max(event) FROM v1_events')
expect 0 cambium policy try -C w mine.sql --json
says "nothing was changed"
sqlite3 :memory: "SELECT (x ->> 'step') || ' ' || (x ->> 'kind') || ' ' || (x ->> 'reason')
    FROM (SELECT value AS x FROM json_each('[' || replace(rtrim(CAST(readfile('out') AS TEXT),
    char(10)), '}' || char(10), '},') || ']'))" >tried
diff record tried || fail "the policy in force gives other decisions than it took"
expect 0 cambium policy try -C w lifelong --steps 3
sed 's/, 2);/, 1);/' mine.sql >often.sql
expect 0 cambium policy try -C w often.sql
has "evaluate"
[ "$(wc -l <out)" -gt "$(grep -c evaluate record)" ] || fail "another policy decides otherwise"

refuse() { # refuse TEXT WORD
    echo "$1" >bad.sql
    expect 78 cambium policy try -C w bad.sql
    says "$2"
    silent out
}
refuse 'DELETE FROM steps' 'only CREATE VIEW'
refuse 'CREATE TEMP VIEW decide_grow AS SELECT 1' 'only CREATE VIEW'
refuse "CREATE VIEW decide_evaluate (reason, evidence) AS SELECT 'x', value FROM meta" meta
refuse "CREATE VIEW decide_evaluate (reason, evidence) AS SELECT 'x', sql FROM sqlite_temp_schema" sqlite_
refuse "CREATE VIEW decide_evaluate (reason, evidence) AS SELECT 'x', datetime('now')" datetime
refuse "CREATE VIEW decide_evaluate (reason, evidence) AS SELECT 'x', key FROM policy_settings" 'lacks'
refuse "CREATE VIEW decide_evaluate (reason, evidence) AS WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL
    SELECT n + 1 FROM c) SELECT 'x', max(n) FROM c" instructions
# Only at some steps of the past is it endless.
refuse "CREATE VIEW decide_evaluate (reason, evidence) AS WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL
    SELECT n + 1 FROM c WHERE (SELECT max(step) FROM v1_steps) = 2) SELECT 'x', max(n) FROM c
    WHERE (SELECT max(step) FROM v1_steps) = 2 HAVING count(*) > 0" 'at step 2'
[ "$(sql w 'SELECT count(*), max(event) FROM v1_events')" = "$before" ] || fail "try left a trace"
[ "$(sql w 'SELECT name FROM v1_policies WHERE in_force')" = mine ] || fail "try used a policy"
