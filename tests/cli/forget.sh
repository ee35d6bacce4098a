#!/bin/bash
# forget.sh: what forgot documents has the same bits as what never saw them.
. "$(dirname "$0")/lib.sh"

cat >busy.sql <<'END'
-- busy: replays, grows, freezes, evaluates and snapshots early, for this test.
CREATE VIEW policy_settings (key, value) AS VALUES ('replay.share', 0.25), ('average.window', 8);
CREATE VIEW policy_count (n) AS SELECT count(*) FROM v1_trained;
CREATE VIEW decide_grow (layer, amount, reason, evidence) AS
SELECT -1, 4, 'three documents', json_object('n', n) FROM policy_count
WHERE n >= 3 AND NOT EXISTS (SELECT 1 FROM v1_decisions WHERE kind = 'grow');
CREATE VIEW decide_freeze (layer, amount, reason, evidence) AS
SELECT -1, 0, 'seven documents', json_object('n', n) FROM policy_count
WHERE n >= 7 AND NOT EXISTS (SELECT 1 FROM v1_decisions WHERE kind = 'freeze');
CREATE VIEW decide_snapshot (reason, evidence) AS
SELECT 'five more documents', json_object('n', n) FROM policy_count
WHERE n >= 5 * (1 + (SELECT count(*) FROM v1_decisions WHERE kind = 'snapshot'));
END

# Pieces of the sample, then what admission has to say something about.
sample
sqlite3 :memory: "
CREATE TABLE docs (n INTEGER PRIMARY KEY, id, domain, text);
WITH RECURSIVE k (k) AS (VALUES (0) UNION ALL SELECT 1),
    lines AS (SELECT key, value FROM json_each('[' || replace(rtrim(CAST(readfile('sample.ndjson') AS TEXT),
        char(10)), char(10), ',') || ']'))
INSERT INTO docs (domain, text) SELECT value ->> 'domain', substr(value ->> 'text', 1 + 900 * k, 900)
FROM lines, k ORDER BY key, k;
UPDATE docs SET id = 'd' || n;
INSERT INTO docs (id, domain, text) SELECT 'twin', domain, replace(text, ',', ' --') FROM docs WHERE id = 'd4';
INSERT INTO docs (id, domain, text) SELECT 'copy', domain, text FROM docs WHERE id = 'd6';
INSERT INTO docs (id, domain, text) SELECT 'd8', domain, 'Now it says ' || substr(text, 300) FROM docs WHERE id = 'd8';
INSERT INTO docs (id, domain, text) VALUES ('noise', 'kjv', replace(hex(zeroblob(400)), '00', 'again and '));
INSERT INTO docs (id, domain, text) SELECT 'last', domain, 'At the end ' || substr(text, 200) FROM docs WHERE id = 'd3';
SELECT json_object('id', id, 'domain', domain, 'title', 'The title of ' || id || ' here', 'text', text)
FROM docs ORDER BY n" >all.ndjson
mkdir whole less
head -n 14 all.ndjson >whole/one.ndjson
tail -n +15 all.ndjson >whole/two.ndjson

# make WORKSPACE FOLDER [POLICY]: a life with the documents of FOLDER.
make() {
    expect 0 cambium init -C "$1" "${TINY[@]}" "${SMALL_VOCABULARY[@]}" --set probe.share=0.2 \
        --set grow.ramp_steps=8
    expect 0 cambium policy use -C "$1" "${3:-busy.sql}"
    expect 0 cambium snapshot -C "$1" -t start
    expect 0 cambium schedule add -C "$1" "4 documents" evaluate
    expect 0 cambium ingest -C "$1" "$2/one.ndjson"
    expect 0 cambium run -C "$1" --once
    expect 0 cambium config -C "$1" train.lr 0.004
    expect 0 cambium snapshot -C "$1" -t half
    expect 0 cambium eval -C "$1"
    expect 0 cambium ingest -C "$1" "$2/two.ndjson"
    expect 0 cambium run -C "$1" --once --flush
}
# without ID...: less/ has the documents of whole/ but those; PART:ID is that of one file.
without() {
    local id
    for part in one two; do
        cp whole/$part.ndjson less/$part.ndjson
        for id in "$@"; do
            case $id in *:*) [ "${id%:*}" = $part ] || continue ;; esac
            sed -i "/\"id\":\"${id#*:}\"/d" less/$part.ndjson
        done
    done
}
number() { # WORKSPACE [PART:]GUID
    sql "$1" "SELECT min(document) FROM v1_documents WHERE guid = '${2#*:}' AND
        ('$2' NOT LIKE '%:%' OR source = '${2%:*}')"
}
# same A B: one model, and one history as far as numbers of rows and lineages go.
same() {
    local a b
    cambium -C "$1" status --json && a=$(field .model_hash)
    cambium -C "$2" status --json && b=$(field .model_hash)
    [ "$a" = "$b" ] || { sql "$1" "SELECT document, guid, state, first_step FROM v1_documents" >a
        sql "$2" "SELECT document, guid, state, first_step FROM v1_documents" >b; diff a b || true
        fail "$1 has the model $a, $2 has $b"; }
    "$SOURCE_DIR/tools/history-diff" --renumbered "$1" "$2" || fail "the histories of $1 and $2 differ"
    check_sum "$1"
}
# forgotten NAME "ID..." ["ID..."]: a copy of base that forgot the first is like a life without the
# second, which are the same unless said otherwise.
forgotten() {
    local name=$1 id numbers=()
    cp -a base "$name"
    for id in $2; do numbers+=("$(number "$name" "$id")"); done
    expect 0 cambium forget -C "$name" "${numbers[@]}" --yes
    cp out "$name.out"
    without ${3:-$2}
    make "$name.less" less
    same "$name" "$name.less"
}
# gone WORKSPACE TEXT...: none of the files has it, compressed texts included.
gone() {
    local workspace=$1 text
    shift
    for text in "$@"; do
        ! grep -rqaF -- "$text" "$workspace" || fail "$workspace still has: $text"
    done
}

make base whole

# ---- cases ----------------------------------------------------------------------------------

case_of T12_first_middle_and_last_document
forgotten first d1
forgotten middle d17
forgotten last last
grep -q '^gone .*half' first.out || fail "snapshots are gone untold"
