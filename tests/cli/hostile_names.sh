#!/bin/bash
# What a publisher calls things is data: markup, formulas and commands in titles, ids, links, domains and
# names of feeds come out as they went in, and nobody runs them.  There is no dashboard, no export and no
# hook; what there is instead is asked here: every command that shows names, JSON and the views.
. "$(dirname "$0")/lib.sh"
: "${FEED_SERVER:?}"

script='<script>alert(1)</script><img src=x onerror=alert(2)>'
formula="=cmd|'/c calc'!A0"
command='$(touch pwned) `touch pwned`; touch pwned | touch pwned && touch pwned'
escaped() { # as XML text
    sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g' <<<"$1"
}
entry() { # ID TITLE
    printf '<entry><id>urn:%s:%s</id><title type="text">%s</title><link href="javascript:alert(3)"/>' \
        "$1" "$(escaped "$2")" "$(escaped "$2")"
    printf '<author><name>%s</name></author><category term="%s"/><content type="text">%s</content></entry>\n' \
        "$(escaped "$2")" "$(escaped "$2" | tr -d '"')" "The text of $1: $(seq -s ' ' "$3" "$(($3 + 60))")"
}
mkdir feeds
{
    printf '<feed xmlns="http://www.w3.org/2005/Atom"><title>%s</title>\n' "$(escaped "$script $command")"
    entry 1 "$script" 100
    entry 2 "$formula" 1000
    entry 3 "$command" 10000
    printf '</feed>\n'
} >feeds/hostile.atom
serve
expect 0 cambium init -C w "${TINY[@]}" "${SMALL_VOCABULARY[@]}" --set probe.share=0
expect 0 cambium config -C w feed.allow_hosts 127.0.0.1
expect 0 cambium feed add -C w "$BASE/hostile.atom" --name "$command"
expect 0 cambium run -C w --once --flush
expect 0 cambium snapshot -C w
shown() { # every command that shows a name
    for command_line in "status" "log -n 50" "feed list" "quarantine list --all" "snapshots" \
        "schedule list" "why -p text" "ingest --dry-run feeds/hostile.atom"; do
        read -ra words <<<"$command_line"
        [ "${words[0]}" = ingest ] || words+=(-C w)
        expect 0 cambium "${words[@]}" "$@"
        cat out
    done
}
shown >talk

case_of P10_markup_is_text
[ "$(sql w "SELECT count(*) FROM v1_documents WHERE title = '$script'")" = 1 ] || fail "stored otherwise"
grep -qF -- "$script" talk || fail "shown otherwise"
shown --json >json
while read -r line; do # every object is JSON, whatever is in it
    printf '%s' "$line" >one.json
    [ "$(sqlite3 :memory: "SELECT json_valid(CAST(readfile('one.json') AS TEXT))")" = 1 ] ||
        fail "no JSON: $line"
done <json
grep -qF 'onerror=alert(2)' json || fail "JSON lost the title"
# A link that is no web address is never asked for, and the only request was the feed's.
[ "$(cat server.out server.err | grep -c GET)" = 2 ] || fail "another address was asked"

case_of P11_a_formula_is_text
expect 0 cambium log -C w -n 50
! grep -q '^[=+@-]' out || fail "a line of the log begins as a formula does"
grep -qF -- "$formula" out || fail "shown otherwise"
sqlite3 -readonly -csv w/history.db "SELECT title FROM v1_documents" >csv
grep -qxF -- "\"$formula\"" csv || grep -qxF -- "$formula" csv || fail "the view has it verbatim"

case_of P12_a_command_is_text
grep -qF -- "$command" talk || fail "shown otherwise"
[ -z "$(find . -name 'pwned*')" ] || fail "a name was run"
# Nothing that could run one is linked in, but for the comparison with PyTorch.
callers=$(grep -rlE '\b(system|popen|wordexp|exec[lv]p?e?|execvpe|fexecve|posix_spawnp?) *\(' \
    "$SOURCE_DIR/src" || true)
[ "${callers#"$SOURCE_DIR"/src/}" = bench/torch_process.c ] || fail "programs are started by: $callers"
