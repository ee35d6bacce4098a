-- 002_fetching: feeds apart from their credentials, what publishers ask of pollers, near duplicates.

ALTER TABLE feeds ADD COLUMN host TEXT NOT NULL DEFAULT '';        -- lower case, without port
ALTER TABLE feeds ADD COLUMN ca_file TEXT;                         -- PEM to trust for this feed
-- clock columns: what the feed or HTTP asked for
ALTER TABLE feeds ADD COLUMN ttl_s INTEGER NOT NULL DEFAULT 0;     -- least time between polls
ALTER TABLE feeds ADD COLUMN skip_hours INTEGER NOT NULL DEFAULT 0; -- bit h: not in hour h, UTC
ALTER TABLE feeds ADD COLUMN skip_days INTEGER NOT NULL DEFAULT 0; -- bit d: not on day d, 0 Sunday

-- "user:password" as they stood in the URL.  No view reads this table.
CREATE TABLE feed_credentials (
    feed INTEGER PRIMARY KEY REFERENCES feeds (feed),
    userinfo TEXT NOT NULL
) STRICT;

-- What a host asked of all its feeds (Retry-After).
CREATE TABLE feed_hosts (
    host TEXT PRIMARY KEY,
    not_before_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Takes the URLs there are apart.  rtrim(a, replace(a, '@', '')) is A up to its last '@'.
PRAGMA secure_delete = ON;
CREATE TEMP TABLE url_parts AS
SELECT feed, head, authority, rtrim(authority, replace(authority, '@', '')) AS userinfo, tail
FROM (SELECT feed, head, substr(rest, 1, n) AS authority, substr(rest, n + 1) AS tail
      FROM (SELECT feed, head, rest,
                min(instr(rest || '/', '/'), instr(rest || '?', '?'), instr(rest || '#', '#')) - 1
                    AS n
            FROM (SELECT feed, substr(url, 1, instr(url, '://') + 2) AS head,
                      substr(url, instr(url, '://') + 3) AS rest
                  FROM feeds WHERE removed IS NULL AND instr(url, '://') > 0)));
INSERT INTO feed_credentials
SELECT feed, substr(userinfo, 1, length(userinfo) - 1) FROM url_parts WHERE length(userinfo) > 1;
DROP INDEX feeds_url; -- two feeds may have differed by their credentials alone
UPDATE feeds SET
    url = (SELECT head || substr(authority, length(userinfo) + 1) || tail FROM url_parts AS p
           WHERE p.feed = feeds.feed),
    host = (SELECT lower(CASE substr(h, 1, 1) WHEN '[' THEN substr(h, 1, instr(h, ']'))
                         ELSE substr(h, 1, instr(h || ':', ':') - 1) END)
            FROM (SELECT substr(authority, length(userinfo) + 1) AS h FROM url_parts AS p
                  WHERE p.feed = feeds.feed))
WHERE feed IN (SELECT feed FROM url_parts);
DROP TABLE url_parts;
PRAGMA secure_delete = OFF;

CREATE INDEX feeds_url ON feeds (url) WHERE removed IS NULL;
CREATE INDEX feeds_due ON feeds (next_poll_at_ms, host) WHERE removed IS NULL AND gone = 0;

-- A document of which this one is a near duplicate, and the index that finds it: four bands of 16
-- bits of the SimHash, so two hashes that differ in at most three bits share a band.
ALTER TABLE documents ADD COLUMN near INTEGER REFERENCES documents (document);
CREATE TABLE simhash_bands (
    band INTEGER NOT NULL,                 -- number << 16 | its 16 bits
    document INTEGER NOT NULL REFERENCES documents (document),
    simhash INTEGER NOT NULL,
    PRIMARY KEY (band, document)
) STRICT, WITHOUT ROWID;

-- Counts and shares of a feed without reading every document.
CREATE INDEX documents_feed ON documents (feed, admission, bytes) WHERE feed IS NOT NULL;
CREATE INDEX documents_admitted ON documents (document, bytes, feed, admission)
    WHERE admission = 'train';
-- The newest value of a setting without reading the whole journal.
CREATE INDEX journal_settings ON journal (name, position, value) WHERE kind = 'setting';
