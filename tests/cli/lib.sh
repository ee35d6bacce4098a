# lib.sh - shared by the tests of the program; sourced, not run.
#
# $CAMBIUM, $FEED_SERVER and $SOURCE_DIR are set by ctest.  Each test works in a folder of its own.
set -euo pipefail
: "${CAMBIUM:?}" "${SOURCE_DIR:?}"
unset CAMBIUM_DIR
export LC_ALL=C

WORK=$(mktemp -d "${TMPDIR:-/tmp}/cambium-cli.XXXXXX")
CHILDREN=()
finish() {
    for child in "${CHILDREN[@]:-}"; do
        [ -z "$child" ] || kill -9 "$child" 2>/dev/null || true
        [ -z "$child" ] || wait "$child" 2>/dev/null || true
    done
    chmod -R u+w "$WORK"
    rm -rf "$WORK"
}
trap finish EXIT
cd "$WORK"

# As small as a model gets, with a pool and few tokens to choose from (a sanitizer makes every step
# many times dearer); one thread, because the machine may be busy.
SMALL_VOCABULARY=(--tokenizer-from "$SOURCE_DIR/tests/data/bundle/tiny.ndjson" --vocabulary 600)
TINY=(--set threads=1 --set model.width=32 --set model.blocks=2 --set model.heads=2
    --set model.kv_heads=1 --set model.hidden=64 --set model.context=256 --set train.rows=2
    --set model.ff=dense,dense+peer --set peer.heads=2 --set peer.top_k=4
    --set peer.key_width=16 --set peer.subkeys=8 --set peer.max_subkeys=16
    --set checkpoint.every_steps=5 --set usage.window_steps=10)

# Says which case of the table of faults comes next: case_of C09_one_flipped_bit.
case_of() {
    echo "== $1"
}

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# cambium with its talk kept in the file `err` and its data in `out`.
cambium() {
    "$CAMBIUM" "$@" >out 2>err
}

# expect CODE COMMAND...: the exit code, with what was said shown if it is another.
expect() {
    local wanted=$1 got=0
    shift
    "$@" || got=$?
    if [ "$got" != "$wanted" ]; then
        cat out err >&2 || true
        fail "exit code $got, not $wanted: $*"
    fi
}

# says TEXT: the last command said it on stderr; has TEXT: on stdout.
says() {
    grep -qF -- "$1" err || { cat err >&2; fail "stderr lacks: $1"; }
}
has() {
    grep -qF -- "$1" out || { cat out >&2; fail "stdout lacks: $1"; }
}
silent() {
    [ ! -s "$1" ] || { cat "$1" >&2; fail "$1 is not empty"; }
}

# field PATH [FILE]: a value of the JSON in FILE (out), as text.
field() {
    sqlite3 :memory: "SELECT json_extract(CAST(readfile('${2:-out}') AS TEXT), '\$$1')"
}

# sql WORKSPACE QUERY
sql() {
    sqlite3 -readonly "$1/history.db" "$2"
}

# Every document is in exactly one state (status --json of WORKSPACE).
check_sum() {
    cambium -C "$1" status --json
    local sum
    sum=$(sqlite3 :memory: "SELECT x ->> 'journalled' = (x ->> 'trained') + (x ->> 'pending')
        + (x ->> 'quarantined') + (x ->> 'held_out') + (x ->> 'set_aside')
        FROM (SELECT CAST(readfile('out') AS TEXT) -> 'documents' AS x)")
    [ "$sum" = 1 ] || { cat out >&2; fail "the counts of $1 do not add up"; }
}

# Starts a feed server for folder `feeds`; sets BASE to its address.
serve() {
    mkdir -p feeds
    "$FEED_SERVER" feeds >server.out 2>server.err &
    CHILDREN+=($!)
    until grep -q 'listening on' server.out 2>/dev/null; do
        kill -0 "${CHILDREN[-1]}" || fail "the feed server does not start: $(cat server.err)"
        sleep 0.05
    done
    BASE=$(sed -n 's/^listening on \(.*\)\/$/\1/p' server.out)
}

# wait_for_step WORKSPACE STEP PID: until the service has trained so far, or has ended.
wait_for_step() {
    while kill -0 "$3" 2>/dev/null; do
        [ "$("$CAMBIUM" -C "$1" status --json >step.json && field .step step.json)" -lt "$2" ] ||
            return 0
        sleep 0.02
    done
}

# Documents of the bundle's sample: two domains, one after the other.
sample() {
    cp "$SOURCE_DIR/tests/data/bundle/tiny.ndjson" sample.ndjson
}
