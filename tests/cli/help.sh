#!/bin/bash
# Help and usage errors: every command teaches by example and refuses what it does not know.
. "$(dirname "$0")/lib.sh"

expect 0 cambium --version
grep -qE '^cambium [0-9]+\.[0-9]+\.[0-9]+$' out || fail "--version"
expect 0 cambium --help
commands=$(sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' out)
[ "$(echo "$commands" | wc -l)" -ge 16 ] || fail "commands are missing from --help"
for command in $commands; do
    expect 0 cambium help "$command"
    silent err
    has "usage: cambium $command"
    has "Examples:"
    has "See also:"
    cp out by_help
    expect 0 cambium "$command" --help
    cmp -s out by_help || fail "$command --help differs from help $command"
    expect 64 cambium "$command" --no-such-option
    says "cambium: "
    says "cambium help"
    silent out
done

expect 64 cambium
says "usage: cambium"
expect 64 cambium statsu
says "did you mean status?"
expect 64 cambium help nothing
expect 64 cambium status extra
expect 64 cambium feed
expect 64 cambium feed add
expect 64 cambium schedule add "5 documents"
expect 64 cambium policy show
expect 64 cambium generate
expect 64 cambium ingest
expect 64 cambium rollback
expect 64 cambium rollback a --requeue --set-aside
expect 64 cambium snapshot -t -x
expect 64 cambium log -n many
expect 64 cambium -C
expect 64 cambium init --set seed
expect 64 cambium init --set model.preset=small

# The workspace: -C before and after the command, $CAMBIUM_DIR, the current folder.
expect 66 cambium -C nowhere status
says "no workspace in nowhere; run: cambium init -C nowhere"
expect 66 cambium status -C nowhere
says "no workspace in nowhere"
expect 66 env CAMBIUM_DIR=elsewhere "$CAMBIUM" status 2>err
says "no workspace in elsewhere"
expect 66 cambium status
says "no workspace in .;"
