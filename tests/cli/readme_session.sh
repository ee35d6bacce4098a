#!/usr/bin/env bash
# Runs the session of README.md and compares what it prints with what README shows; numbers, hashes
# and the model's own words may differ from machine to machine, everything else may not.
source "$(dirname "$0")/lib.sh"
unset -f cambium
: "${FEED_SERVER:?}"
PATH=$(dirname "$CAMBIUM"):$(dirname "$FEED_SERVER"):$PATH
ln -s "$SOURCE_DIR/tests" tests

sed -n '/<!-- session: begin -->/,/<!-- session: end -->/p' "$SOURCE_DIR/README.md" |
    grep -v -e '^<!--' -e '^```' >shown.txt
[ "$(grep -c '^\$ ' shown.txt)" -ge 10 ] || fail "README shows no session"

: >printed.txt
while IFS= read -r line; do
    command=${line#\$ }
    printf '%s\n' "$line" >>printed.txt
    code=0
    eval "$command" >>printed.txt 2>&1 || code=$?
    [ $code -eq 0 ] || { tail -5 printed.txt >&2; fail "exit code $code: $command"; }
    case $command in *"&") CHILDREN+=($!); sleep 1 ;; esac
done < <(grep '^\$ ' shown.txt)

# What may differ: progress and request lines, the text generated, the folder, numbers.
comparable() {
    grep -v -e '^cambium: step ' -e '^GET ' "$1" | sed '/^\$ cambium generate/q' |
        sed -E -e 's|/[^ ]*/brain|DIR/brain|' -e 's/\b[0-9a-f]{8,32}\b/#/g' \
            -e 's/[+-]?[0-9][0-9.,]*/#/g' -e 's/# ?(k )?tokens\/s/RATE/' -e 's/[ ─]+/ /g'
}
diff <(comparable shown.txt) <(comparable printed.txt) ||
    fail "README's session (<) is not what the program prints (>)"
