#!/bin/bash
# Caching against a server written by others: nginx makes ETag and Last-Modified of a file, answers
# 304 to what comes back, compresses, and redirects.
. "$(dirname "$0")/lib.sh"

NGINX=$(command -v nginx || echo /usr/sbin/nginx)
[ -x "$NGINX" ] || { echo "nginx is not installed (tools/install-packages --test): not checked"; exit 77; }

mkdir -p web logs
printf '{"id":"1","text":"The first document, as nginx serves it."}\n' >web/f.ndjson
configure() { # PORT
    cat >nginx.conf <<EOF
daemon off;
master_process off; # one process: whoever ends it leaves no worker behind
pid $WORK/nginx.pid;
error_log $WORK/logs/error.log;
events { worker_connections 64; }
http {
    log_format asked '\$uri \$status "\$http_if_none_match" "\$http_if_modified_since"';
    access_log $WORK/logs/access.log asked;
    client_body_temp_path $WORK/logs; proxy_temp_path $WORK/logs; fastcgi_temp_path $WORK/logs;
    uwsgi_temp_path $WORK/logs; scgi_temp_path $WORK/logs;
    types { application/x-ndjson ndjson; }
    server {
        listen 127.0.0.1:$1;
        root $WORK/web;
        location = /old.ndjson { return 301 /f.ndjson; }
        location = /undated.ndjson { alias $WORK/web/f.ndjson; add_header Last-Modified ""; }
        location = /untagged.ndjson { alias $WORK/web/f.ndjson; etag off; }
        location = /gzip.ndjson {
            alias $WORK/web/f.ndjson; gzip on; gzip_types application/x-ndjson; gzip_min_length 1;
        }
    }
}
EOF
}
chmod 755 "$WORK" web # its worker is another user where root runs the tests
for _ in 1 2 3 4 5; do
    port=$((20000 + RANDOM % 20000))
    configure "$port"
    "$NGINX" -p "$WORK" -c nginx.conf -e "$WORK/logs/error.log" >logs/out.log 2>&1 &
    server=$!
    CHILDREN+=($server)
    for _ in $(seq 200); do
        [ -s nginx.pid ] || ! kill -0 $server 2>/dev/null || { sleep 0.05; continue; }
        break
    done
    [ -s nginx.pid ] && kill -0 $server 2>/dev/null && break
done
[ -s nginx.pid ] || { cat logs/error.log; fail "nginx does not start"; }
BASE=http://127.0.0.1:$port

expect 0 cambium init -C w "${TINY[@]}" "${SMALL_VOCABULARY[@]}" --set probe.share=0 \
    --set feed.host_gap_ms=0 --set feed.allow_hosts=127.0.0.1
last() { grep "^/$1 " logs/access.log | tail -n 1; }
status_of() { sql w "SELECT http_status FROM v1_feeds WHERE url LIKE '%/$1'"; }

# N01: each kind of validator comes back byte for byte, is answered with 304, and brings nothing new.
for name in f undated untagged gzip; do
    expect 0 cambium feed add -C w "$BASE/$name.ndjson"
    [ "$(status_of $name.ndjson)" = 200 ] || fail "$name: $(last $name.ndjson)"
done
[ "$(sql w 'SELECT count(*) FROM v1_documents')" = 1 ] || fail "one text, one document"
case $(sql w "SELECT etag FROM v1_feeds WHERE url LIKE '%/gzip.ndjson'") in
W/*) ;;
*) fail "the compressed answer's ETag is not weak" ;;
esac
[ -z "$(sql w "SELECT etag FROM v1_feeds WHERE url LIKE '%/untagged.ndjson'")" ] || fail "an ETag"
[ -z "$(sql w "SELECT last_modified FROM v1_feeds WHERE url LIKE '%/undated.ndjson'")" ] ||
    fail "a date"
expect 0 cambium run -C w --once
for name in f undated untagged gzip; do
    [ "$(status_of $name.ndjson)" = 304 ] || fail "$name again: $(last $name.ndjson)"
done
[ "$(last untagged.ndjson | cut -d'"' -f2)" = - ] || fail "an ETag was sent that was never given"
[ "$(last undated.ndjson | cut -d'"' -f4)" = - ] || fail "a date was sent that was never given"

# A changed file is new.
printf '{"id":"2","text":"The second document, as nginx serves it."}\n' >>web/f.ndjson
expect 0 cambium run -C w --once
[ "$(status_of f.ndjson)" = 200 ] || fail "changed: $(last f.ndjson)"
[ "$(sql w 'SELECT count(*) FROM v1_documents')" = 2 ] || fail "the second document"

# A permanent redirect moves the feed.
expect 0 cambium feed remove -C w "$BASE/f.ndjson"
expect 0 cambium feed add -C w "$BASE/old.ndjson"
[ "$(sql w "SELECT count(*) FROM v1_feeds WHERE state = 'active' AND url = '$BASE/f.ndjson'")" = 1 ] ||
    fail "moved: $(sql w 'SELECT url FROM v1_feeds')"
