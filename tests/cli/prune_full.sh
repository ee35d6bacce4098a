#!/bin/bash
# C06: prune works on a full disk, from the reserve; the service goes on afterwards.  Needs a file
# system of its own, so it is skipped (77) where none can be mounted.
. "$(dirname "$0")/lib.sh"

mkdir disk
if ! mount -t tmpfs -o size=14M,mode=0755 none disk 2>mount.err; then
    echo "skipped: $(cat mount.err)"
    exit 77
fi
unmount() {
    cd /
    umount -l "$WORK/disk" || true
    finish
}
trap unmount EXIT

sample
expect 0 cambium init -C disk/w "${TINY[@]}" "${SMALL_VOCABULARY[@]}" --set probe.share=0
[ "$(stat -c %s disk/w/reserve)" = 2097152 ] || fail "no reserve"
for i in 1 2 3; do
    sed -n "${i}p" sample.ndjson >one.ndjson
    expect 0 cambium ingest -C disk/w one.ndjson
    expect 0 cambium run -C disk/w --once --flush
    expect 0 cambium snapshot -C disk/w
done
cat /dev/zero >disk/filler 2>/dev/null || true # until nothing is left
[ "$(stat -f -c %a disk)" = 0 ] || fail "the disk is not full"
sed -n 4p sample.ndjson >one.ndjson
code=0
cambium ingest -C disk/w one.ndjson || code=$?
[ $code -ne 0 ] || fail "there was space"

expect 0 cambium prune -C disk/w --keep-last 1 --yes --json
[ "$(field .removed)" = 2 ] || { cat out; fail "removed"; }
[ "$(field .freed_bytes)" -gt 1000000 ] || { cat out; fail "freed"; }
expect 0 cambium snapshots -C disk/w --json
[ "$(field '[1].id')" = "" ] && [ "$(field '[0].id')" != "" ] || fail "one snapshot stays"
expect 0 cambium verify -C disk/w --read-data
expect 0 cambium ingest -C disk/w one.ndjson
check_sum disk/w
[ -e disk/w/reserve ] || fail "the reserve is not there again"

# Beside a service that waits for space: it has much to do when the disk fills up.
rm disk/filler
expect 0 cambium config -C disk/w document.near_bits -1
for i in 1 2 3 4; do
    sed "s/\"text\": \"/&Part $i, once more: /" sample.ndjson >more.ndjson
    expect 0 cambium ingest -C disk/w more.ndjson
done
"$CAMBIUM" -C disk/w run >service.out 2>service.err &
service=$!
CHILDREN+=($service)
until [ -S disk/w/control.sock ]; do
    kill -0 $service 2>/dev/null || { cat service.err; fail "the service ended"; }
    sleep 0.02
done
cat /dev/zero >disk/filler 2>/dev/null || true
until grep -q 'training pauses' service.err; do
    kill -0 $service 2>/dev/null || { cat service.err; fail "the service ended"; }
    sleep 0.1
done
expect 0 cambium prune -C disk/w --keep-last 1 --yes
rm disk/filler
until grep -q 'training goes on' service.err; do
    kill -0 $service 2>/dev/null || { cat service.err; fail "the service ended"; }
    sleep 0.1
done
kill -TERM $service
code=0
wait $service || code=$?
[ $code = 0 ] || { cat service.err; fail "SIGTERM: exit code $code"; }
expect 0 cambium verify -C disk/w --read-data
echo ok
