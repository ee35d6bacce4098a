-- 001_history: every table of history.db.  Read schema/README.md first; the public surface is views.sql.
-- lineage, moment: which branch, and which transaction of it, wrote a row (src/store/history.h).
-- Columns named *_at, *_seconds, *_per_s are clock readings: nothing the trainer does depends on them.

CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- The one total order.
CREATE TABLE journal (
    position INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,                    -- document, release, drop, setting, policy, evaluate, ...
    document INTEGER,                      -- what a release or drop is about
    name TEXT NOT NULL DEFAULT '',         -- key of a setting, name of a policy, tag of a snapshot
    value TEXT NOT NULL DEFAULT '',
    body TEXT NOT NULL DEFAULT '{}',       -- JSON: reason and whatever else explains the row
    journalled_at TEXT NOT NULL
) STRICT;
CREATE INDEX journal_document ON journal (document, kind) WHERE document IS NOT NULL;
CREATE INDEX journal_kind ON journal (kind, name, position) WHERE kind <> 'document';

CREATE TABLE feeds (
    feed INTEGER PRIMARY KEY,
    url TEXT NOT NULL,
    name TEXT NOT NULL DEFAULT '',
    format TEXT NOT NULL DEFAULT '',
    url_display TEXT NOT NULL,             -- credentials masked, control characters replaced
    interval_s INTEGER NOT NULL,
    position INTEGER NOT NULL,             -- journal row that added it
    removed INTEGER,                       -- journal row that removed it
    -- clock columns: what HTTP said
    etag TEXT, last_modified TEXT,
    http_status INTEGER, error TEXT, gone INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0, polls INTEGER NOT NULL DEFAULT 0,
    bytes_fetched INTEGER NOT NULL DEFAULT 0, duplicates INTEGER NOT NULL DEFAULT 0,
    rejected INTEGER NOT NULL DEFAULT 0,
    polled_at TEXT, next_poll_at_ms INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX feeds_url ON feeds (url) WHERE removed IS NULL;

CREATE TABLE probes (
    probe INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('domain', 'file')),
    contaminated INTEGER NOT NULL DEFAULT 0,  -- documents trained on before they became its text
    UNIQUE (kind, name)
) STRICT;

CREATE TABLE documents (
    document INTEGER PRIMARY KEY REFERENCES journal (position),
    feed INTEGER REFERENCES feeds (feed),
    source TEXT NOT NULL,
    guid TEXT, url TEXT, title TEXT, author TEXT, published TEXT, updated TEXT, language TEXT,
    title_display TEXT, author_display TEXT, url_display TEXT, -- control characters replaced
    domain TEXT NOT NULL,                  -- control characters replaced
    content_hash TEXT NOT NULL,            -- XXH3-128 of the cleaned text
    bytes INTEGER NOT NULL,
    replaced INTEGER NOT NULL DEFAULT 0,   -- invalid bytes replaced while cleaning
    admission TEXT NOT NULL CHECK (admission IN ('train', 'held_out', 'quarantined')),
    reason TEXT,                           -- why quarantined
    probe INTEGER REFERENCES probes (probe),
    revises INTEGER REFERENCES documents (document)
) STRICT;
CREATE INDEX documents_hash ON documents (content_hash);
CREATE INDEX documents_guid ON documents (feed, guid) WHERE guid IS NOT NULL;
CREATE INDEX documents_domain ON documents (domain, document);
CREATE INDEX documents_probe ON documents (probe, document) WHERE probe IS NOT NULL;
CREATE INDEX documents_revises ON documents (revises) WHERE revises IS NOT NULL;

CREATE TABLE document_texts (
    document INTEGER PRIMARY KEY REFERENCES documents (document),
    text BLOB NOT NULL                     -- zstd
) STRICT;

-- Arrivals of a probe's text from elsewhere: refused, so the probe stays clean.
CREATE TABLE probe_refusals (
    document INTEGER NOT NULL REFERENCES documents (document),
    source TEXT NOT NULL, guid TEXT NOT NULL,
    PRIMARY KEY (document, source, guid)
) STRICT, WITHOUT ROWID;

-- Branches and the living chain.
CREATE TABLE lineages (
    lineage INTEGER PRIMARY KEY,
    parent INTEGER REFERENCES lineages (lineage),
    fork_step INTEGER NOT NULL, fork_moment INTEGER NOT NULL,
    fork_position INTEGER NOT NULL, fork_offset INTEGER NOT NULL,
    skip_to INTEGER NOT NULL,              -- control rows up to here were acted on before the fork
    snapshot TEXT, mode TEXT, reason TEXT NOT NULL, position INTEGER,
    opened_at TEXT NOT NULL
) STRICT;
CREATE TABLE lineage_spans (
    lineage INTEGER PRIMARY KEY REFERENCES lineages (lineage),
    moment_to INTEGER NOT NULL
) STRICT;
-- One row: where the trainer is.
CREATE TABLE trainer (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    lineage INTEGER NOT NULL REFERENCES lineages (lineage),
    moment INTEGER NOT NULL, step INTEGER NOT NULL,
    position INTEGER NOT NULL, "offset" INTEGER NOT NULL,
    documents INTEGER NOT NULL, tokens INTEGER NOT NULL -- trained so far
) STRICT;

-- What the trainer wrote down.  Every table from here to `snapshots` is (lineage, moment, ...).
CREATE TABLE steps (
    lineage INTEGER NOT NULL, moment INTEGER NOT NULL, step INTEGER NOT NULL,
    position INTEGER NOT NULL, "offset" INTEGER NOT NULL,
    new_tokens INTEGER NOT NULL, new_bytes INTEGER NOT NULL, replay_tokens INTEGER NOT NULL,
    nll_new REAL, nll_replay REAL, grad_norm REAL, learning_rate REAL, step_seconds REAL,
    PRIMARY KEY (lineage, moment)
) STRICT, WITHOUT ROWID;
CREATE TABLE trained (
    lineage INTEGER NOT NULL, moment INTEGER NOT NULL,
    document INTEGER NOT NULL REFERENCES documents (document),
    rank INTEGER NOT NULL,                 -- n-th document trained in the living history
    first_step INTEGER NOT NULL, last_step INTEGER NOT NULL,
    tokens INTEGER NOT NULL, bytes INTEGER NOT NULL, nll REAL,
    PRIMARY KEY (lineage, moment, document)
) STRICT, WITHOUT ROWID;
CREATE INDEX trained_rank ON trained (rank);
CREATE INDEX trained_document ON trained (document, lineage, moment);
-- A document that is not to be trained on when met at a position up to `position`.
CREATE TABLE holds (
    lineage INTEGER NOT NULL, moment INTEGER NOT NULL,
    document INTEGER NOT NULL REFERENCES documents (document),
    position INTEGER NOT NULL, step INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('quarantined', 'set_aside')),
    reason TEXT NOT NULL,
    PRIMARY KEY (lineage, moment, document)
) STRICT, WITHOUT ROWID;
CREATE INDEX holds_document ON holds (document, lineage, moment);
CREATE TABLE provenance (
    lineage INTEGER NOT NULL, moment INTEGER NOT NULL, document INTEGER NOT NULL,
    layer INTEGER NOT NULL, expert INTEGER NOT NULL, incarnation INTEGER NOT NULL,
    generation INTEGER NOT NULL, weight REAL NOT NULL,
    PRIMARY KEY (lineage, moment, document, layer, expert)
) STRICT, WITHOUT ROWID;
CREATE INDEX provenance_expert ON provenance (layer, expert, lineage, moment);
CREATE INDEX provenance_document ON provenance (document, lineage, moment);
CREATE TABLE usage (
    lineage INTEGER NOT NULL, moment INTEGER NOT NULL, step INTEGER NOT NULL,
    layer INTEGER NOT NULL, generation INTEGER NOT NULL, window_steps INTEGER NOT NULL,
    picks INTEGER NOT NULL, gate_mass REAL, used_experts INTEGER NOT NULL,
    n_experts INTEGER NOT NULL, unevenness REAL, hub_share REAL,
    PRIMARY KEY (lineage, moment, layer, generation)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_step ON usage (step);
CREATE TABLE generation_states (
    lineage INTEGER NOT NULL, moment INTEGER NOT NULL, step INTEGER NOT NULL,
    layer INTEGER NOT NULL, generation INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('born', 'opening', 'opened', 'frozen')),
    subkeys_from INTEGER NOT NULL, subkeys_to INTEGER NOT NULL,
    first_expert INTEGER NOT NULL, n_experts INTEGER NOT NULL,
    documents INTEGER NOT NULL,            -- trained when it happened
    reason TEXT NOT NULL, decision INTEGER, hash TEXT,
    PRIMARY KEY (lineage, moment, layer, generation, state)
) STRICT, WITHOUT ROWID;
CREATE INDEX generation_states_of ON generation_states (layer, generation);
CREATE TABLE evaluations (
    lineage INTEGER NOT NULL, moment INTEGER NOT NULL, evaluation INTEGER NOT NULL,
    step INTEGER NOT NULL, position INTEGER NOT NULL, documents INTEGER NOT NULL,
    reason TEXT NOT NULL, evaluated_at TEXT NOT NULL,
    PRIMARY KEY (lineage, moment)
) STRICT, WITHOUT ROWID;
CREATE TABLE scores (
    lineage INTEGER NOT NULL, moment INTEGER NOT NULL, probe INTEGER NOT NULL,
    nll REAL NOT NULL, bytes INTEGER NOT NULL, tokens INTEGER NOT NULL,
    PRIMARY KEY (lineage, moment, probe)
) STRICT, WITHOUT ROWID;
CREATE TABLE decisions (
    lineage INTEGER NOT NULL, moment INTEGER NOT NULL, decision INTEGER NOT NULL,
    step INTEGER NOT NULL, kind TEXT NOT NULL, layer INTEGER NOT NULL, amount INTEGER NOT NULL,
    reason TEXT NOT NULL, evidence TEXT NOT NULL,
    origin TEXT NOT NULL,                  -- 'policy <name>' or 'schedule <n>'
    PRIMARY KEY (lineage, moment, decision)
) STRICT, WITHOUT ROWID;
CREATE TABLE decision_outcomes (
    lineage INTEGER NOT NULL, moment INTEGER NOT NULL, decision INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    PRIMARY KEY (lineage, moment)
) STRICT, WITHOUT ROWID;
CREATE TABLE controls (
    lineage INTEGER NOT NULL, moment INTEGER NOT NULL,
    position INTEGER NOT NULL REFERENCES journal (position),
    step INTEGER NOT NULL, outcome TEXT NOT NULL,
    PRIMARY KEY (lineage, moment)
) STRICT, WITHOUT ROWID;
CREATE INDEX controls_position ON controls (position);
-- Values in force: the newest living row of a key.  NOW settings are read from the journal instead.
CREATE TABLE setting_values (
    lineage INTEGER NOT NULL, moment INTEGER NOT NULL, key TEXT NOT NULL,
    value TEXT NOT NULL, position INTEGER NOT NULL,
    PRIMARY KEY (lineage, moment, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE setting_keys (                -- rewritten at every start from settings.def
    key TEXT PRIMARY KEY, type TEXT NOT NULL, scope TEXT NOT NULL,
    default_value TEXT NOT NULL, help TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE policies (
    hash TEXT PRIMARY KEY, name TEXT NOT NULL, text TEXT NOT NULL, position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE schedules (
    schedule INTEGER PRIMARY KEY, spec TEXT NOT NULL, action TEXT NOT NULL,
    every_documents INTEGER,               -- NULL for time-based ones
    position INTEGER NOT NULL, removed INTEGER,
    last_due_at_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE snapshots (
    id TEXT PRIMARY KEY, parent TEXT, kind TEXT NOT NULL CHECK (kind IN ('checkpoint', 'snapshot')),
    tag TEXT, lineage INTEGER NOT NULL, moment INTEGER NOT NULL, step INTEGER NOT NULL,
    position INTEGER NOT NULL, "offset" INTEGER NOT NULL,
    documents INTEGER NOT NULL, tokens INTEGER NOT NULL, -- trained so far
    model_hash TEXT NOT NULL, bytes_total INTEGER NOT NULL,
    bytes_unique INTEGER NOT NULL, bytes_shared INTEGER NOT NULL, -- clock: depend on what was saved
    number INTEGER NOT NULL,               -- order of saving
    saved_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX snapshots_tag ON snapshots (tag) WHERE tag IS NOT NULL;
CREATE INDEX snapshots_moment ON snapshots (lineage, moment);

-- Never discarded, never part of the identical history.
CREATE TABLE events (
    event INTEGER PRIMARY KEY, level TEXT NOT NULL, kind TEXT NOT NULL, message TEXT NOT NULL,
    body TEXT NOT NULL DEFAULT '{}', lineage INTEGER, step INTEGER, happened_at TEXT NOT NULL
) STRICT;
