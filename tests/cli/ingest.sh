#!/bin/bash
# ingest: bad lines are reported with their numbers, good ones are journalled once.
. "$(dirname "$0")/lib.sh"

cat >mixed.ndjson <<'END'
{"id":"1","title":"One","domain":"a","text":"The first document of a feed is long enough."}
this line is broken
{"id":"2","domain":"b","html":"<p>The <b>second</b> document has markup in it.</p>"}
{"id":"3","domain":"a"}

{"id":"4","domain":"a","text":"short"}
{"id":"5","domain":"a","text":"Invalid bytes \xff\xfe are no JSON text at all."}
{"id":"6","title":"esc \u001b]0;x\u0007","domain":"a","text":"A title that would drive a terminal, neutralised."}
END
printf '{"id":"7","domain":"a","text":"Raw invalid \xff\xfe bytes on a line of their own."}\n' >>mixed.ndjson

# A dry run needs no workspace and makes none.
expect 0 cambium ingest --dry-run --json mixed.ndjson
[ "$(wc -l <out)" = 4 ] || { cat out err; fail "dry run: one object a document"; }
head -n 1 out >one.json
for key in id url title published updated author language domain text html; do
    sqlite3 :memory: "SELECT json_type(CAST(readfile('one.json') AS TEXT), '\$.$key')" |
        grep -q . || fail "dry run lacks $key"
done
[ "$(field .text one.json)" = "The first document of a feed is long enough." ] || fail text
says "line 2"
says "4 documents, 4 rejected"
grep -q $'\x1b' out && fail "a raw escape reached stdout"

expect 0 cambium init -C w "${TINY[@]}" "${SMALL_VOCABULARY[@]}" --set probe.share=0
expect 0 cambium ingest -C w mixed.ndjson --json
[ "$(field .journalled)" = 4 ] || { cat out; fail journalled; }
[ "$(field .rejected)" = 4 ] || { cat out; fail rejected; }
[ "$(field .quarantined)" = 1 ] || { cat out; fail quarantined; }
for line in 2 4 7 9; do
    says "mixed.ndjson: line $line: "
done
check_sum w
[ "$(field .documents.quarantined)" = 1 ] || fail "the short one is quarantined"
sql w "SELECT reason FROM v1_quarantine" | grep -q 'too short' || fail reason

expect 0 cambium ingest -C w mixed.ndjson --json
[ "$(field .journalled)" = 0 ] || fail "the same again is nothing new"
[ "$(field .duplicates)" = 4 ] || fail duplicates
expect 0 cambium ingest -C w - --format ndjson <mixed.ndjson
has "duplicates   4"

# A revision: the same id with another text.
echo '{"id":"1","domain":"a","text":"The first document of a feed, after a correction."}' >again.ndjson
expect 0 cambium ingest -C w again.ndjson --json
[ "$(field .journalled)" = 1 ] || fail "a revision is journalled"

# Formats, and what is no feed at all.
expect 0 cambium ingest -C w "$SOURCE_DIR/tests/data/feed/basic.atom"
printf 'A plain text file is one document.\n' >plain.txt
expect 0 cambium ingest -C w plain.txt --json
[ "$(field .journalled)" = 1 ] || fail "plain text"
[ "$(sql w "SELECT domain FROM v1_documents WHERE source = 'plain'")" = plain ] || fail "its domain"
: >empty.ndjson
expect 0 cambium ingest -C w empty.ndjson
has "journalled   0 documents"
expect 65 cambium ingest -C w --format atom plain.txt
says "plain.txt"
expect 78 cambium ingest -C w --format word plain.txt
says "formats: atom, rss, jsonfeed, ndjson, html, text"
expect 66 cambium ingest -C w missing.ndjson
printf 'no\nno\n' >allbad.ndjson
expect 65 cambium ingest -C w allbad.ndjson
says "no document could be read, 2 were rejected"
check_sum w

# Every format by its look, a folder in the order of its names, links and dot files passed over.
mkdir -p folder/b/deep outside
cp "$SOURCE_DIR/tests/data/feed/article.html" "$SOURCE_DIR/tests/data/feed/small.json" folder
cp "$SOURCE_DIR/tests/data/feed/modules.rss" folder/b/2.xml
printf 'A text in a folder within a folder.\n' >folder/b/deep/1.txt
printf 'Not in the folder, only linked to.\n' >outside/secret.txt
printf 'A dot file is none of our business.\n' >folder/.hidden.txt
printf '\0\1\2' >folder/b/binary
ln -s ../outside/secret.txt folder/link.txt
ln -s ../outside folder/linked
ln -s . folder/loop
printf '<rss><channel><item>' >folder/cut.rss
expect 0 cambium ingest --dry-run --json folder
[ "$(grep -c 'folder/cut.rss' err)" = 1 ] || fail "the broken file is told once"
! grep -q 'folder/cut.rss.*folder/cut.rss' err || fail "its path is told twice"
rm folder/cut.rss
expect 0 cambium ingest --dry-run --json folder
says "folder/b/binary"
says "7 documents, 1 rejected"
[ "$(sed -n 1p out >l; field .title l)" = "How a tree grows" ] || fail "folder: article.html is first"
[ "$(sed -n 2p out >l; field .title l)" = "From Dublin" ] || fail "folder: then b/2.xml, oldest first"
[ "$(sed -n 5p out >l; field .text l)" = "A text in a folder within a folder." ] || fail "folder: depth"
[ "$(sed -n 7p out >l; field .url l)" = "http://example.org/2" ] || fail "folder: small.json is last"
expect 0 cambium ingest -C w folder --json
[ "$(field .journalled)" -gt 3 ] || fail "a folder is journalled"
check_sum w

# What came before the broken place of a feed is kept, and the place is named.
printf '<rss><item><description>A first entry that is whole and long enough.</description></item>\n<item><title>x</item></rss>' >broken.rss
expect 65 cambium ingest -C w broken.rss
says "broken.rss: XML feed: line 2"
[ "$(sql w "SELECT count(*) FROM v1_documents WHERE source = 'broken'")" = 1 ] || fail "kept entry"

# A stream that never ends: documents are handed on as their lines come.
mkfifo stream
"$CAMBIUM" ingest --dry-run --json - <stream >streamed 2>err &
CHILDREN+=($!)
exec 8>stream
printf '{"text":"one line of a stream"}\n{"text":"half a' >&8
for _ in $(seq 100); do [ -s streamed ] && break; sleep 0.1; done
[ "$(field .text streamed)" = "one line of a stream" ] || fail "the first line of a stream"
printf ' line"}\n' >&8
exec 8>&-
wait $! || fail "the end of a stream"
[ "$(wc -l <streamed)" = 2 ] || fail "the second line of a stream"
mkfifo live
"$CAMBIUM" ingest -C w - <live >out 2>err &
CHILDREN+=($!)
exec 8>live
printf '{"text":"journalled while the stream goes on"}\n' >&8
for _ in $(seq 100); do
    [ "$(sql w "SELECT count(*) FROM v1_documents WHERE source = 'stdin' AND bytes = 35")" = 1 ] && break
    sleep 0.1
done
[ "$(sql w "SELECT count(*) FROM v1_documents WHERE source = 'stdin' AND bytes = 35")" = 1 ] ||
    fail "a stream is journalled as it comes"
exec 8>&-
wait $! || fail "the end of a live stream"

# A reader that closes the pipe early is no error.
for _ in $(seq 200); do cat mixed.ndjson; done >long.ndjson
"$CAMBIUM" ingest --dry-run --json long.ndjson 2>/dev/null | head -n 1 >/dev/null ||
    fail "a closed pipe is an error"

# SIGTERM ends an ingest that waits for input; what it had not journalled is simply not there.
mkfifo pipe
"$CAMBIUM" ingest -C w - <pipe >out 2>err &
ingest=$!
CHILDREN+=($ingest)
exec 9>pipe
kill -TERM $ingest
code=0
wait $ingest || code=$?
exec 9>&-
[ $code = 143 ] || fail "SIGTERM during ingest: exit code $code"
check_sum w
