#!/bin/bash
# tools/build-stream on packages made here: the same bytes twice, held-out files apart, hostile ones
# passed by.  (No network: a package that is in the folder already is not downloaded.)
. "$(dirname "$0")/lib.sh"
command -v dpkg-deb python3 >/dev/null || exit 77

prose() { # prose WORD: a text of some kilobytes
    for i in $(seq 1 20); do echo "The $1 of line $i is told once, and then the $1 rests."; done
}
mkdir -p pk package/docs deb/DEBIAN deb/usr/share/doc/thing
for i in 1 2 3 4 5 6; do prose "story$i" >"package/docs/$i.md"; done
printf '<p>Hidden &amp; shown</p><script>no();</script>%s\n' "$(prose page)" >package/docs/7.html
printf '\377\376not text\n' >package/docs/8.md
ln -s /etc/passwd package/docs/9.md
echo '{"name": "tale", "version": "1.2.3"}' >package/package.json
tar czf pk/tale-1.2.3.tgz --sort=name --mtime=@0 package
for i in 1 2 3; do prose "manual$i" | gzip -n >"deb/usr/share/doc/thing/$i.gz"; done
printf 'Package: thing\nVersion: 4.5-6\nArchitecture: all\nMaintainer: nobody <n@example.org>\nDescription: test\n' \
    >deb/DEBIAN/control
dpkg-deb --root-owner-group -b deb pk/thing_4.5-6_all.deb >/dev/null

cat >table <<'END'
# two domains
tales   npm:tale@1.2.3      package/docs/*
manual  debian:thing        ./usr/share/doc/thing/*
END
"$SOURCE_DIR/tools/build-stream" --packages pk --heldout 0.2 table one 2>err
"$SOURCE_DIR/tools/build-stream" --packages pk --heldout 0.2 table two 2>err
cmp one/stream.ndjson two/stream.ndjson && cmp one/heldout.ndjson two/heldout.ndjson
cmp one/manifest.json two/manifest.json || fail "not the same bytes"
grep -q '"version": "4.5-6"' one/manifest.json || fail "the manifest names the version"
[ "$(grep -c '"domain": "manual"' one/stream.ndjson)" -ge 2 ] || fail "a domain of several files"
cat one/stream.ndjson one/heldout.ndjson >all
grep -q 'Hidden & shown' all || fail "HTML is text"
! grep -q 'no();' all || fail "a script is no text"
! grep -q 'root:' all || fail "a link was followed"
sed 's|.*"url": "\([^"]*\)/[0-9]*"}|\1|' one/stream.ndjson | sort -u >in_stream
sed 's|.*"url": "\([^"]*\)/[0-9]*"}|\1|' one/heldout.ndjson | sort -u >in_heldout
[ -z "$(comm -12 in_stream in_heldout)" ] || fail "a file is in both"
expect 0 cambium ingest --dry-run --json one/stream.ndjson
has '"domain":"tales"'

echo 'tales npm:../evil package/*' >bad
! "$SOURCE_DIR/tools/build-stream" --packages pk bad three 2>err || fail "a bad name"
says "line 1"
