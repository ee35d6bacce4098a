#!/usr/bin/env bash
# C06 on a real file system that is full: a small tmpfs of our own, where we may mount one.
if [ -z "${OWN_MOUNTS:-}" ]; then
    unshare --mount true 2>/dev/null || exit 77
    OWN_MOUNTS=1 exec unshare --mount bash "$0" "$@"
fi
. "$(dirname "$0")/lib.sh"

sample
mkdir disk
mount -t tmpfs -o size=12m tmpfs disk || exit 77
trap 'umount -l disk; finish' EXIT

make_world() { # FOLDER
    expect 0 cambium init -C "$1" "${TINY[@]}" "${SMALL_VOCABULARY[@]}" --set probe.share=0 \
        --set checkpoint.every_steps=3
    expect 0 cambium ingest -C "$1" sample.ndjson
}
make_world elsewhere
expect 0 cambium run -C elsewhere --once
make_world disk/w

case_of C06_training_pauses_on_a_full_disk_and_goes_on
"$CAMBIUM" -C disk/w run >service.out 2>service.err &
service=$!
CHILDREN+=($service)
wait_for_step disk/w 4 $service
dd if=/dev/zero of=disk/filler bs=64k status=none 2>/dev/null || true
until grep -q 'training pauses' service.err; do
    kill -0 $service 2>/dev/null || { cat service.err; fail "the service ended"; }
    sleep 0.1
done
expect 0 cambium -C disk/w status --json
[ "$(field .service.state)" = paused ] || fail "status does not say so: $(cat out)"
expect 74 cambium ingest -C disk/w "$SOURCE_DIR/tests/data/bundle/tiny.ndjson"
kill -KILL $service
wait $service || true

case_of C06_a_killed_service_left_a_full_disk
expect 74 cambium run -C disk/w --once
expect 0 cambium -C disk/w status
rm disk/filler
expect 0 cambium run -C disk/w --once
for w in elsewhere disk/w; do
    expect 0 cambium -C $w status --json
    field .model_hash >>hashes
done
[ "$(sort -u hashes | wc -l)" = 1 ] || fail "the models differ"
"$SOURCE_DIR/tools/history-diff" elsewhere disk/w || fail "the histories differ"

case_of C06_a_full_disk_under_the_log
code=0
"$CAMBIUM" run -C disk/w --once >/dev/null 2>/dev/full || code=$?
[ $code = 0 ] || fail "a log that cannot be written ended the run: $code"
code=0
"$CAMBIUM" status -C disk/w >/dev/full 2>err || code=$?
[ $code = 74 ] || fail "data that could not be written: exit code $code"
