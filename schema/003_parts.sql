-- 003_parts: what freezes and thaws part by part, which experts began anew, how many lie idle.

-- generation -1: the part has none.  layer -1: it belongs to no block.
CREATE TABLE freezes (
    lineage INTEGER NOT NULL, moment INTEGER NOT NULL, step INTEGER NOT NULL,
    layer INTEGER NOT NULL, part TEXT NOT NULL, generation INTEGER NOT NULL,
    frozen INTEGER NOT NULL,               -- 0: thawed
    reason TEXT NOT NULL, decision INTEGER,
    hash TEXT,                             -- content when it froze
    PRIMARY KEY (lineage, moment, layer, part, generation)
) STRICT, WITHOUT ROWID;
CREATE INDEX freezes_of ON freezes (layer, part, generation);
INSERT INTO freezes
SELECT lineage, moment, step, layer, 'experts', generation, 1, reason, decision, hash
FROM generation_states WHERE state = 'frozen';
DELETE FROM generation_states WHERE state = 'frozen';

CREATE TABLE recycled (
    lineage INTEGER NOT NULL, moment INTEGER NOT NULL, step INTEGER NOT NULL,
    layer INTEGER NOT NULL, expert INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,          -- the one that began
    generation INTEGER NOT NULL,
    idle_windows INTEGER NOT NULL,         -- in a row without a pick, before
    decision INTEGER NOT NULL,
    PRIMARY KEY (lineage, moment, layer, expert)
) STRICT, WITHOUT ROWID;

ALTER TABLE usage ADD COLUMN idle_experts INTEGER;
ALTER TABLE decisions ADD COLUMN part TEXT NOT NULL DEFAULT '';
