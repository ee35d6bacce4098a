#!/usr/bin/env bash
# What happened to files behind the program's back: it names the file and the part, starts from an
# older good state and says so, and never begins anew by itself.
. "$(dirname "$0")/lib.sh"

# flip FILE OFFSET: one bit of one byte.
flip() {
    local byte
    byte=$(od -An -tu1 -j "$2" -N 1 "$1")
    # shellcheck disable=SC2059
    printf "\\x$(printf %x $((byte ^ 16)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

sample
expect 0 cambium init -C w "${TINY[@]}" "${SMALL_VOCABULARY[@]}" --set probe.share=0
head -n 3 sample.ndjson >some.ndjson
expect 0 cambium ingest -C w some.ndjson
expect 0 cambium run -C w --once
ls w/objects >packs.before
expect 0 cambium snapshot -C w -t later
expect 0 cambium run -C w --once --flush
expect 0 cambium verify -C w --read-data
expect 0 cambium -C w status --json
cp out good.json
cp -r w kept

case_of C09_a_flipped_bit_in_a_pack
pack=$(ls w/objects | grep -v -x -F -f packs.before | tail -n 1)
[ -n "$pack" ] || fail "no new pack"
flip "w/objects/$pack" 100
expect 65 cambium verify -C w --read-data
has "$pack"
grep -q 'region [a-z]' out || fail "no region is named: $(cat out)"
expect 0 cambium run -C w --once
says "does not verify"
says "$pack"
says "instead"
expect 0 cambium -C w status --json
[ "$(field .model_hash)" = "$(field .model_hash good.json)" ] || fail "other bits after falling back"
[ "$(sql w "SELECT count(*) > 0 FROM v1_events WHERE kind = 'snapshot_bad'")" = 1 ] || fail "no event"

case_of C10_a_pack_cut_short
rm -rf w && cp -r kept w
truncate -s -1 "w/objects/$pack"
expect 65 cambium verify -C w --read-data
has "$pack"

case_of C09_a_flipped_bit_in_a_manifest
rm -rf w && cp -r kept w
manifest=$(ls -t w/snapshots | head -n 1)
flip "w/snapshots/$manifest" 300
expect 65 cambium verify -C w --read-data
has "$manifest"

case_of C09_a_flipped_bit_in_a_text
rm -rf w && cp -r kept w
sqlite3 w/history.db "UPDATE document_texts SET text = CAST(substr(text, 1, 30) || x'00' ||
    substr(text, 32) AS BLOB) WHERE document = (SELECT min(document) FROM document_texts)"
document=$(sql w "SELECT min(document) FROM v1_documents")
expect 65 cambium verify -C w --read-data
has "document $document"

case_of C11_no_snapshot_is_good
rm -rf w && cp -r kept w
for file in w/objects/*.cpk; do flip "$file" 0; done
for command in "run --once" "score some.ndjson"; do
    # shellcheck disable=SC2086
    expect 65 cambium $command -C w
    says "none of"
    says "backup"
done
[ "$(sql w "SELECT count(*) FROM v1_trained")" = "$(sql kept "SELECT count(*) FROM v1_trained")" ] ||
    fail "the history was changed"
expect 65 cambium verify -C w
grep -q 'objects/pack-' out || fail "verify lists no damage: $(cat out err)"
expect 73 cambium init -C w "${TINY[@]}"
cp kept/objects/* w/objects/
expect 0 cambium run -C w --once
expect 0 cambium -C w status --json
[ "$(field .model_hash)" = "$(field .model_hash good.json)" ] || fail "other bits after the backup"
