-- 005_openings: how generations open, where the picks of probes go, and indices for what is asked often.

-- A generation on its way from closed to open.
CREATE TABLE openings (
    lineage INTEGER NOT NULL, moment INTEGER NOT NULL, step INTEGER NOT NULL,
    layer INTEGER NOT NULL, generation INTEGER NOT NULL,
    opening_steps INTEGER NOT NULL,
    bias REAL NOT NULL,                    -- of its sub-keys from this step on; 0: open
    pick_share REAL NOT NULL, gate_share REAL NOT NULL, -- of this step's batch
    PRIMARY KEY (lineage, moment, layer, generation)
) STRICT, WITHOUT ROWID;
CREATE INDEX openings_of ON openings (layer, generation);

-- Which experts a probe's tokens picked, at an evaluation.
CREATE TABLE routing (
    lineage INTEGER NOT NULL, moment INTEGER NOT NULL, evaluation INTEGER NOT NULL,
    probe INTEGER NOT NULL, layer INTEGER NOT NULL,
    picks INTEGER NOT NULL,
    generations TEXT NOT NULL,             -- JSON: picks of each generation
    sketch TEXT NOT NULL,                  -- JSON: picks of each of 64 sets of experts
    learned_documents INTEGER,             -- rank of the last document of its domain, once others followed
    PRIMARY KEY (lineage, moment, probe, layer)
) STRICT, WITHOUT ROWID;
CREATE INDEX routing_of ON routing (evaluation, probe, layer);

CREATE INDEX evaluations_of ON evaluations (evaluation);
CREATE INDEX outcomes_of ON decision_outcomes (decision);
CREATE INDEX decisions_of ON decisions (kind, amount);
