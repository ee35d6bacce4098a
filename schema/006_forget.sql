-- 006_forget: documents that were forgotten, and what a forget has to know of rollbacks before it.

-- All that stays of a document: its number, and a hash of its text under a key of this workspace's own
-- (meta 'forget_key'), which refuses the text when it comes again.
CREATE TABLE forgotten (
    hash TEXT PRIMARY KEY,
    document INTEGER NOT NULL,
    position INTEGER NOT NULL,             -- journal row of the forget
    refused INTEGER NOT NULL DEFAULT 0,    -- arrivals of the text since
    forgotten_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX forgotten_document ON forgotten (document);

-- Control rows a lineage does not act on, because rollbacks took them back: those in
-- (position_from, position_to].  A new lineage takes over the rows of the one it was opened in.
CREATE TABLE lineage_skips (
    lineage INTEGER NOT NULL REFERENCES lineages (lineage),
    position_from INTEGER NOT NULL, position_to INTEGER NOT NULL,
    PRIMARY KEY (lineage, position_from, position_to)
) STRICT, WITHOUT ROWID;
INSERT INTO lineage_skips
SELECT lineage, done, skip_to
FROM (SELECT l.lineage, l.skip_to, max(l.fork_position,
          coalesce((SELECT max(c.position) FROM controls AS c
                    WHERE c.lineage = l.parent AND c.moment <= l.fork_moment), 0)) AS done
      FROM lineages AS l)
WHERE skip_to > done;

CREATE INDEX documents_source ON documents (source);
