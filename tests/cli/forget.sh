#!/bin/bash
# forget.sh documents|workspaces: a workspace that forgot documents has the same bits as one that never
# saw them.  documents: which ones they are; workspaces: what else happened there, and what is left.
. "$(dirname "$0")/lib.sh"

what=$1
cat >busy.sql <<'END'
-- busy: replays, averages, grows, freezes and snapshots early, for this test.
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
INSERT INTO docs (domain, text) SELECT value ->> 'domain', substr(value ->> 'text', 1 + 500 * k, 500)
FROM lines, k ORDER BY key, k;
UPDATE docs SET id = 'd' || n;
INSERT INTO docs (id, domain, text) SELECT 'twin', domain, replace(text, ',', ' --') FROM docs WHERE id = 'd4';
INSERT INTO docs (id, domain, text) SELECT 'copy', domain, text FROM docs WHERE id = 'd6';
INSERT INTO docs (id, domain, text) SELECT 'd8', domain, 'Now it says ' || substr(text, 200) FROM docs WHERE id = 'd8';
INSERT INTO docs (id, domain, text) VALUES ('noise', 'kjv', replace(hex(zeroblob(40)), '00', 'again and '));
INSERT INTO docs (id, domain, text) SELECT 'last', domain, 'At the end ' || substr(text, 100) FROM docs WHERE id = 'd3';
SELECT json_object('id', id, 'domain', domain, 'title', 'The title of ' || id || ' here', 'text', text)
FROM docs ORDER BY n" >all.ndjson
mkdir whole less
head -n 14 all.ndjson >whole/one.ndjson
tail -n +15 all.ndjson >whole/two.ndjson

expect 0 cambium init -C empty "${TINY[@]}" "${SMALL_VOCABULARY[@]}" --set probe.share=0.2 \
    --set grow.ramp_steps=8

# make WORKSPACE FOLDER [POLICY]: a life with the documents of FOLDER.
make() {
    cp -a empty "$1"
    expect 0 cambium policy use -C "$1" "${3:-busy.sql}"
    expect 0 cambium snapshot -C "$1" -t start
    expect 0 cambium schedule add -C "$1" "4 documents" evaluate
    expect 0 cambium ingest -C "$1" "$2/one.ndjson"
    expect 0 cambium run -C "$1" --once
    expect 0 cambium config -C "$1" train.lr 0.004
    expect 0 cambium config -C "$1" document.near_bits 2
    expect 0 cambium snapshot -C "$1" -t half
    expect 0 cambium eval -C "$1"
    [ ! -s "$2/two.ndjson" ] || expect 0 cambium ingest -C "$1" "$2/two.ndjson"
    expect 0 cambium run -C "$1" --once
}
# without ID...: less/ has the documents of whole/ but those; PART:ID is that of one file.
without() {
    local id part
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
state() { # WORKSPACE GUID
    sql "$1" "SELECT state FROM v1_documents WHERE guid = '$2'"
}
model() { # WORKSPACE
    "$CAMBIUM" -C "$1" status --json >model.json
    field .model_hash model.json
}
# same A B: one model, and one history as far as numbers of rows and lineages go.
same() {
    [ "$(model "$1")" = "$(model "$2")" ] || {
        sql "$1" "SELECT document, guid, state, first_step FROM v1_documents" >a
        sql "$2" "SELECT document, guid, state, first_step FROM v1_documents" >b
        diff a b || true
        fail "the models of $1 and $2 differ"
    }
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
    # shellcheck disable=SC2086
    without ${3:-$2}
    make "$name.less" less
    same "$name" "$name.less"
}

make base whole
[ "$(sql base "SELECT count(*) FROM v1_generations WHERE generation = 1")" = 1 ] || fail "base did not grow"
[ "$(sql base "SELECT count(*) FROM v1_snapshots WHERE tag IS NULL")" -ge 3 ] || fail "base made no snapshots"

# ---- which documents ------------------------------------------------------------------------

if [ "$what" = documents ]; then
    case_of T12_the_first_a_middle_and_the_last_document
    [ "$(state base d1)" = trained ] && [ "$(state base last)" != quarantined ] || fail "d1, last: states"
    forgotten first d1
    grep -q '^gone .*half' first.out || fail "it is not told which snapshots are gone: $(cat first.out)"
    forgotten middle d17
    forgotten last last # waits below a batch, as like as not

    case_of T12_the_original_of_a_near_duplicate
    [ "$(state base twin)" = quarantined ] || fail "the twin was let in: $(state base twin)"
    forgotten original d4
    grep -q '^judged anew   1 document' original.out || fail "the twin is not told of: $(cat original.out)"
    case $(state original twin) in trained | pending | held_out) ;; *) fail "the twin is still out" ;; esac

    case_of T12_the_original_of_a_duplicate # has the same text: both are gone, or they would not be
    forgotten copied d6 "d6 copy"

    case_of T12_quarantined_ones_cost_nothing
    forgotten noise noise
    forgotten twin twin
    ! grep -q '^lineage\|^gone' noise.out twin.out || fail "what nobody learned from was unlearned"

    case_of T12_held_out_ones
    probes=$(sql base "SELECT guid FROM v1_documents WHERE state = 'held_out' ORDER BY document")
    [ "$(echo "$probes" | wc -l)" -ge 2 ] || fail "two probes are needed: $probes"
    forgotten first_probe "$(echo "$probes" | head -n 1)"
    forgotten last_probe "$(echo "$probes" | tail -n 1)"

    case_of T12_versions_of_an_entry
    forgotten revised one:d8
    forgotten revision two:d8

    case_of T12_several_at_once
    forgotten several "d3 d20 noise last"
    exit
fi

# ---- two in a row, further documents, a source ----------------------------------------------

case_of T12_two_in_a_row_and_then_more
cp -a base row
later=$(number row d19) # numbers stay what they are
expect 0 cambium forget -C row "$(number row d5)" --yes
expect 0 cambium forget -C row "$later" --yes
without d5 d19
make row.less less
same row row.less
expect 0 cambium ingest -C row whole/one.ndjson --json
[ "$(field .forgotten)$(field .journalled)" = 10 ] || fail "the same text came in again: $(cat out)"
expect 0 cambium ingest -C row whole/two.ndjson
has "refused      1 forgotten before"
[ "$(sql row "SELECT group_concat(refused) FROM v1_forgotten")" = 1,1 ] || fail "refusals are not counted"
sed 's/LORD/God/g; s/"id":"/"id":"new/; /newd19"/d' whole/two.ndjson >more.ndjson
for w in row row.less; do
    expect 0 cambium ingest -C $w more.ndjson
    expect 0 cambium run -C $w --once --flush
    expect 0 cambium eval -C $w
done
same row row.less

case_of T06_a_source
cp -a base source
expect 0 cambium forget -C source --source two --yes
without $(sed 's/.*"id":"\([^"]*\)".*/two:\1/' whole/two.ndjson)
make source.less less
same source source.less

case_of T06_forget_the_feed_that_brought_poison
if [ -n "${FEED_SERVER:-}" ]; then
    mkdir feeds
    cp whole/one.ndjson feeds/good.ndjson
    sed 's/"id":"/"id":"poison/; s/the /teh /g' whole/two.ndjson >feeds/poison.ndjson
    serve
    cp -a empty fed
    expect 0 cambium run -C fed --feed "$BASE/good.ndjson" --allow-host 127.0.0.1 --once
    expect 0 cambium snapshot -C fed
    before=$(model fed)
    expect 0 cambium run -C fed --feed "$BASE/poison.ndjson" --allow-host 127.0.0.1 --once
    [ "$(model fed)" != "$before" ] || fail "the poison was not learned"
    expect 0 cambium forget -C fed --source "$BASE/poison.ndjson" --yes
    [ "$(model fed)" = "$before" ] || fail "the bytes of before the contact did not come back"
    [ "$(sql fed "SELECT group_concat(documents > 0) FROM v1_feeds")" = 1,0 ] || fail "documents of the feeds"
    check_sum fed
fi

case_of T12_beside_the_policy_that_ships
make shipped whole lifelong
expect 0 cambium forget -C shipped "$(number shipped d17)" --yes # goes on from a snapshot in the middle:
[ "$(sql shipped "SELECT fork_step > 0 FROM v1_lineages WHERE current")" = 1 ] || fail "it began anew"
[ "$(sql shipped "SELECT count(DISTINCT lineage) FROM v1_trained")" = 1 ] || fail "policies see a rollback"
without d17
make shipped.less less lifelong
same shipped shipped.less

# ---- the price, and when it cannot be paid -------------------------------------------------

case_of T13_without_a_snapshot_from_before_it_is_refused_with_its_price
cp -a empty late
for part in one two; do # two checkpoints later the state of the beginning is gone
    expect 0 cambium ingest -C late whole/$part.ndjson
    expect 0 cambium run -C late --once
done
before=$(model late)
trained=$(sql late "SELECT count(*) FROM v1_trained")
tokens=$(sql late "SELECT sum(new_tokens) FROM v1_steps")
for how in "" --yes; do
    # shellcheck disable=SC2086
    expect 66 cambium forget -C late "$(number late d1)" $how
    says "$trained documents, $tokens tokens"
    says "no snapshot from before"
done
[ "$(model late)" = "$before" ] || fail "what was refused changed something"
check_sum late

case_of T13_the_price_comes_first
cp -a base price
since=$(sql price "SELECT (SELECT count(*) FROM v1_trained) - documents FROM v1_snapshots WHERE tag = 'half'")
expect 0 cambium forget -C price "$(number price d17)" --json
[ "$(field .since.documents)" -le "$since" ] && [ "$(field .since.tokens)" -gt 0 ] || fail "price: $(cat out)"
expect 0 cambium forget -C price "$(number price d17)"
says "nothing was changed"
same price base
expect 66 cambium forget -C price 999
expect 66 cambium forget -C price --source nobody
expect 64 cambium forget -C price
expect 64 cambium forget -C price 5 --source two
expect 64 cambium forget -C price five

# ---- nothing is left -----------------------------------------------------------------------

case_of T12_no_byte_of_it_is_left
bytes_of() { od -An -v -tx1 "$@" | tr -d ' \n'; }
left() { # WORKSPACE: whether a file has its title, or the middle of its compressed text
    local file
    while IFS= read -r file; do
        ! grep -qaF 'The title of d17 here' "$file" || return 0
        ! bytes_of "$file" | grep -qF "$needle" || return 0
    done < <(find "$1" -type f)
    return 1
}
cp -a base clean
document=$(number clean d17)
sql clean "SELECT writefile('blob', text) FROM document_texts WHERE document = $document" >/dev/null
needle=$(tail -c +60 blob | head -c 24 >part; bytes_of part)
cp clean/history.db clean/history.db.before-v5
cp clean/history.db clean/history.db.damaged-1
left clean || fail "the text cannot be found before it is forgotten"
expect 0 cambium forget -C clean "$document" --yes
says "may still hold it: history.db.damaged-1"
[ ! -e clean/history.db.before-v5 ] || fail "an old copy of the database is still there"
rm clean/history.db.damaged-1
! left clean || fail "the text is still in the workspace"
[ -z "$(sql clean "SELECT 1 FROM provenance WHERE document = $document UNION SELECT 1 FROM trained WHERE document = $document
    UNION SELECT 1 FROM journal WHERE position = $document")" ] || fail "rows about it are left"
expect 0 cambium verify -C clean --read-data
for id in $(sql base "SELECT id FROM v1_snapshots"); do
    [ -n "$(sql clean "SELECT 1 FROM snapshots WHERE id = '$id'")" ] || [ ! -e "clean/snapshots/$id.manifest" ] ||
        fail "snapshot $id learned from it and is still there"
done

# ---- after a rollback ----------------------------------------------------------------------

case_of T11_what_a_rollback_set_aside_stays_so
cp -a base back
expect 0 cambium rollback -C back half
expect 0 cambium snapshot -C back -t again
aside=$(sql back "SELECT count(*) FROM v1_documents WHERE state = 'set_aside'")
[ "$aside" -gt 3 ] || fail "the rollback set $aside aside"
expect 0 cambium forget -C back "$(number back d3)" --yes
[ "$(sql back "SELECT count(*) FROM v1_documents WHERE state = 'set_aside'")" = "$aside" ] ||
    fail "what a rollback took back came again"
[ "$(sql back "SELECT count(*) FROM v1_journal WHERE kind = 'evaluate' AND done_step IS NOT NULL")" = 0 ] ||
    fail "an evaluation that was taken back was made again"
[ "$(sql back "SELECT value FROM v1_settings WHERE key = 'train.lr'")" = 0.004 ] ||
    fail "a setting of before the snapshot is gone"
[ "$(sql back "SELECT count(*) FROM v1_snapshots WHERE tag IN ('start', 'half', 'again')")" = 3 ] ||
    fail "snapshots that were asked for were not made again"
check_sum back
[ "$(sql back "SELECT group_concat(mode, ' ') FROM v1_lineages WHERE parent > 0")" = "set_aside forget" ] ||
    fail "lineages: $(sql back 'SELECT * FROM v1_lineages')"
expect 0 cambium verify -C back

# ---- beside a service, and killed half-way -------------------------------------------------

case_of T12_beside_a_service
cp -a base served
"$CAMBIUM" -C served run >service.out 2>service.err &
service=$!
CHILDREN+=($service)
until [ -S served/control.sock ]; do
    kill -0 $service || { cat service.err; fail "the service ended"; }
    sleep 0.05
done
expect 0 cambium forget -C served "$(number served d5)" --json
[ "$(field .act)" = 0 ] || fail "it acted unasked"
expect 0 cambium forget -C served "$(number served d5)" --yes --json
[ "$(field .documents)" = 1 ] || fail "the answer: $(cat out)"
expect 0 cambium forget -C served "$later" --yes --json
answered=$(field .model_hash)
kill -TERM $service
wait $service || fail "the service did not end well: $(cat service.err)"
[ "$(model served)" = "$answered" ] || fail "the answer came before the rest was trained on"
expect 0 cambium run -C served --once
without d5 d19
make served.less less
same served served.less

case_of C14_killed_half_way
without d5
make killed.less less
rounds=0
for delay in 0.02 0.1 0.2 0.4 0.8 1.6; do
    rm -rf killed
    cp -a base killed
    document=$(number killed d5)
    "$CAMBIUM" forget -C killed "$document" --yes >k.out 2>k.err &
    forget=$!
    CHILDREN+=($forget)
    sleep $delay
    kill -KILL $forget 2>/dev/null && rounds=$((rounds + 1))
    wait $forget 2>/dev/null || true
    expect 0 cambium forget -C killed "$document" --yes # not done yet, or gone on with
    same killed killed.less
done
[ $rounds -ge 1 ] || fail "it was never killed"
