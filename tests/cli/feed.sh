#!/bin/bash
# Feeds over HTTP: each way to fail has its message and exit code, and nothing is lost.
. "$(dirname "$0")/lib.sh"
: "${FEED_SERVER:?}"

sample
serve
head -n 2 sample.ndjson >feeds/good.ndjson
cp "$SOURCE_DIR/tests/data/feed/basic.atom" feeds/good.atom
head -c 300 feeds/good.atom >feeds/broken.atom
: >feeds/empty.ndjson
cat >feeds/empty.atom <<'END'
<?xml version="1.0" encoding="utf-8"?>
<feed xmlns="http://www.w3.org/2005/Atom"><title>Empty</title><id>urn:e</id>
<updated>2024-01-01T00:00:00Z</updated></feed>
END
ALLOW=(--allow-host 127.0.0.1)
expect 0 cambium init -C w "${TINY[@]}" "${SMALL_VOCABULARY[@]}" --set probe.share=0 \
    --set feed.host_gap_ms=0

# What is no feed URL.
expect 65 cambium feed add -C w /tmp/feed.atom
says "cambium ingest FILE"
expect 65 cambium feed add -C w file:///etc/passwd
expect 65 cambium run -C w --feed ftp://example.org/ --once
expect 78 cambium feed add -C w "$BASE/x" --format word
expect 64 cambium feed add -C w "$BASE/x" --fulltext maybe
expect 66 cambium feed remove -C w "$BASE/good.ndjson"

# A private address needs leave.
expect 0 cambium feed add -C w "$BASE/good.ndjson" --name first --every 30m
says "not a public address"
says "first poll failed"
[ ! -s server.err ] || fail "a refused feed was asked for"
expect 77 cambium run -C w --once
says "127.0.0.1"
check_sum w
[ "$(field .documents.journalled)" = 0 ] || fail "a refused feed was read"

expect 0 cambium run -C w --once "${ALLOW[@]}"
says "2 documents"
check_sum w
[ "$(field .documents.journalled)" = 2 ] || fail "two documents"
expect 0 cambium run -C w --once "${ALLOW[@]}"
says "not modified, 0 documents"
[ "$(sql w 'SELECT http_status FROM v1_feeds')" = 304 ] || fail "a second poll gets 304"
[ "$(sql w 'SELECT count(*) FROM v1_documents')" = 2 ] || fail "a 304 brought documents"

# Through the setting instead of the option.
expect 0 cambium config -C w feed.allow_hosts 127.0.0.1
expect 0 cambium run -C w --once

# `run --feed` adds what is not there, once.
expect 0 cambium run -C w --feed "$BASE/good.atom" --feed "$BASE/good.ndjson" --once
[ "$(sql w 'SELECT count(*) FROM v1_feeds')" = 2 ] || fail "run --feed added a feed twice"
expect 0 cambium feed list -C w --json
[ "$(wc -l <out)" = 2 ] || fail "feed list"
head -n 1 out >one.json
[ "$(field .interval_s one.json)" = 1800 ] || fail "the interval stays"
journalled=$(sql w 'SELECT count(*) FROM v1_documents')

# One failing feed among good ones: the others are read, and the code is the failure's.
fails() { # CODE FILE MESSAGE
    expect 0 cambium feed add -C w "$BASE/$2"
    expect "$1" cambium run -C w --once
    says "$3"
    says "1 of 3 feeds failed"
    [ "$(sql w "SELECT failures > 0 AND error IS NOT NULL AND next_poll_at IS NOT NULL
        FROM v1_feeds WHERE state = 'active' AND url LIKE '%/$2'")" = 1 ] || fail "$2: not written down"
    expect 0 cambium feed remove -C w "$BASE/$2"
}
fails 66 missing.atom 404
fails 65 broken.atom broken.atom
expect 0 cambium config -C w feed.max_bytes 1024
for _ in $(seq 8); do cat "$SOURCE_DIR/tests/data/feed/basic.atom"; done >feeds/large.atom
fails 65 large.atom 1024
expect 0 cambium config -C w feed.max_bytes 16M
expect 0 cambium config -C w feed.max_documents 1
head -n 5 sample.ndjson >feeds/many.ndjson
fails 65 many.ndjson feed.max_documents
expect 0 cambium config -C w feed.max_documents 10000
expect 0 cambium feed add -C w http://no-such-host.invalid/feed
expect 69 cambium run -C w --once
says "no-such-host.invalid"
expect 0 cambium feed remove -C w http://no-such-host.invalid/feed
[ "$(sql w 'SELECT count(*) FROM v1_documents')" -ge "$journalled" ] || fail "documents were lost"

# Nothing in a feed is no failure.
for name in empty.ndjson empty.atom; do
    expect 0 cambium run -C w --feed "$BASE/$name" --once
    says "$name: 0 documents"
done

# add asks once, and a feed added again is not asked again.
expect 0 cambium feed remove -C w "$BASE/good.atom"
asked() { grep -c 'good.atom' server.err || true; }
before=$(asked)
expect 0 cambium feed add -C w "$BASE/good.atom" --every 2h
[ "$(asked)" = $((before + 1)) ] || fail "feed add is not one GET"
expect 0 cambium feed add -C w "$BASE/good.atom" --every 3h
[ "$(asked)" = $((before + 1)) ] || fail "changing a feed asked for it"
expect 0 cambium feed list -C w
has "good, every 10800 s"
has "next poll 2"
expect 0 cambium feed add -C w "$BASE/later.atom" --later
has_not() { ! grep -qF -- "$1" "$2" || fail "$2 has: $1"; }
has_not later.atom server.err
expect 0 cambium feed list -C w
has "not polled yet"
has "as soon as it runs"
expect 0 cambium feed remove -C w "$BASE/later.atom"
expect 66 cambium feed add -C w "$BASE/x" --ca no-such-file.pem
expect 65 cambium feed add -C w "https://user:p/ss@example.org/"
has_not p/ss err

# A page names its feeds, and the message the page.
printf '<!doctype html><title>Site</title><link rel=alternate type=application/atom+xml href=good.atom>' \
    >feeds/index.html
expect 0 cambium feed add -C w "$BASE/index.html" --later
expect 65 cambium run -C w --once
says "$BASE/index.html: an HTML page, not a feed; its feeds, to be given in its place: $BASE/good.atom"
expect 0 cambium feed remove -C w "$BASE/index.html"

# A full inbox is trained between two feeds, and nothing about the result is different.
for i in 1 2 3; do
    head -n $((4 * i)) sample.ndjson | tail -n 4 >"feeds/part$i.ndjson"
done
for w in narrow wide; do
    expect 0 cambium init -C $w "${TINY[@]}" "${SMALL_VOCABULARY[@]}" --set probe.share=0 \
        --set feed.host_gap_ms=0
done
# A setting is a row of the journal, so both have one.
expect 0 cambium config -C narrow inbox.max_documents 2
expect 0 cambium config -C wide inbox.max_documents 1000
for w in narrow wide; do
    expect 0 cambium run -C $w --once --flush --feed "$BASE/part1.ndjson" --feed "$BASE/part2.ndjson" \
        --feed "$BASE/part3.ndjson" "${ALLOW[@]}"
    cp err $w.err
    expect 0 cambium status -C $w --json
    field .model_hash >$w.hash
done
grep -q 'the inbox is full' narrow.err || fail "a full inbox was not trained first"
! grep -q 'the inbox is full' wide.err || fail "the inbox is wide enough"
first=$(grep -n 'the inbox is full' narrow.err | head -n 1 | cut -d: -f1)
[ "$first" -lt "$(grep -n 'part3.ndjson' narrow.err | tail -n 1 | cut -d: -f1)" ] ||
    fail "all feeds were read first"
cmp narrow.hash wide.hash || fail "training between the feeds made another model"

# A changed feed brings what is new, and credentials are never shown.
head -n 4 sample.ndjson >feeds/next && mv feeds/next feeds/good.ndjson
expect 0 cambium run -C w --once
says "2 documents"
expect 0 cambium feed add -C w "http://user:secret@${BASE#http://}/good.ndjson"
[ "$(sql w "SELECT count(*) FROM feeds WHERE url LIKE '%secret%' OR url_display LIKE '%secret%'")" = 0 ] ||
    fail "a password is in the feeds table"
expect 0 cambium feed list -C w
grep -q secret out && fail "a password was shown"
expect 0 cambium run -C w --once
grep -q secret out err && fail "a password was logged"
check_sum w
