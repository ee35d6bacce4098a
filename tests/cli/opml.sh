#!/bin/bash
# feed import-opml: nested feeds are added, and nothing in the list is ever run (P13).
. "$(dirname "$0")/lib.sh"

cat >list.opml <<'END'
<?xml version="1.0" encoding="UTF-8"?>
<opml version="1.1"><body>
  <outline text="News"><outline text="A" title="Feed A" type="rss" xmlUrl="http://127.0.0.1:9/a?x=1&amp;y=2"/>
    <outline text="deeper"><outline text="B" xmlUrl="https://127.0.0.1:9/b"/></outline></outline>
  <outline text="C" xmlUrl="exec:touch pwned"/>
  <outline text="D" xmlUrl="|touch pwned"/>
  <outline text="E" xmlUrl="http://127.0.0.1:9/e" filtercmd="touch pwned"/>
  <outline text="F" xmlUrl="file:///etc/passwd"/>
</body></opml>
END
expect 0 cambium init -C w "${TINY[@]}" "${SMALL_VOCABULARY[@]}"
expect 0 cambium feed import-opml list.opml -C w --every 6h
says "ignored exec:touch pwned"
says "ignored |touch pwned"
says "ignored file:///etc/passwd: only http and https are read"
says "list.opml: 2 feeds, 4 outlines ignored"
[ "$(sql w "SELECT group_concat(name || ' ' || url || ' ' || interval_s, ';') FROM v1_feeds")" = \
    "Feed A http://127.0.0.1:9/a?x=1&y=2 21600;B https://127.0.0.1:9/b 21600" ] || fail feeds
[ ! -e pwned ] || fail "something in the list was run"
expect 0 cambium feed import-opml list.opml -C w
[ "$(sql w "SELECT count(*) FROM v1_feeds")" = 2 ] || fail "twice is once"
expect 66 cambium feed import-opml missing.opml -C w
printf '<rss/>' >no.opml
expect 65 cambium feed import-opml no.opml -C w
says "no.opml: OPML: the root element is <rss>"
expect 64 cambium feed import-opml -C w
