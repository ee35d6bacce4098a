-- 004_pages: the pages of entries whose feed gives a summary only (feed.fulltext).

ALTER TABLE feeds ADD COLUMN fulltext INTEGER;   -- 1 or 0; NULL: as the setting feed.fulltext says

-- One row an entry as the feed gave it (its id, address and summary, hashed): what came of asking
-- for its page.  The same entry again is nothing new, whatever its page says by then.
CREATE TABLE entry_pages (
    feed INTEGER NOT NULL REFERENCES feeds (feed),
    entry TEXT NOT NULL,
    document INTEGER REFERENCES documents (document) ON DELETE CASCADE, -- NULL: a duplicate
    problem TEXT,                          -- why the summary was kept; NULL: the page's text was taken
    http_status INTEGER, fetched_at TEXT NOT NULL, -- clock
    PRIMARY KEY (feed, entry)
) STRICT, WITHOUT ROWID;
CREATE INDEX entry_pages_document ON entry_pages (document) WHERE document IS NOT NULL;
