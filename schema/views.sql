-- views.sql - the public query surface: v1_ views never lose or change a column once released.
-- living_ views are internal: rows of the living chain of lineages (CROSS JOIN: found by number or kind first).  Re-created at every migration and
-- whenever this file changes.  Columns are described in README.md; a golden test holds them fixed.

CREATE VIEW living_steps AS SELECT h.* FROM lineage_spans AS s
    JOIN steps AS h ON h.lineage = s.lineage AND h.moment <= s.moment_to;
CREATE VIEW living_trained AS SELECT h.* FROM lineage_spans AS s
    JOIN trained AS h ON h.lineage = s.lineage AND h.moment <= s.moment_to;
CREATE VIEW living_holds AS SELECT h.* FROM lineage_spans AS s
    JOIN holds AS h ON h.lineage = s.lineage AND h.moment <= s.moment_to;
CREATE VIEW living_provenance AS SELECT h.* FROM lineage_spans AS s
    JOIN provenance AS h ON h.lineage = s.lineage AND h.moment <= s.moment_to;
CREATE VIEW living_usage AS SELECT h.* FROM lineage_spans AS s
    JOIN usage AS h ON h.lineage = s.lineage AND h.moment <= s.moment_to;
CREATE VIEW living_generation_states AS SELECT h.* FROM generation_states AS h
    CROSS JOIN lineage_spans AS s ON h.lineage = s.lineage AND h.moment <= s.moment_to;
CREATE VIEW living_freezes AS SELECT h.* FROM lineage_spans AS s
    JOIN freezes AS h ON h.lineage = s.lineage AND h.moment <= s.moment_to;
CREATE VIEW living_recycled AS SELECT h.* FROM lineage_spans AS s
    JOIN recycled AS h ON h.lineage = s.lineage AND h.moment <= s.moment_to;
CREATE VIEW living_openings AS SELECT h.* FROM lineage_spans AS s
    JOIN openings AS h ON h.lineage = s.lineage AND h.moment <= s.moment_to;
CREATE VIEW living_routing AS SELECT h.* FROM lineage_spans AS s
    JOIN routing AS h ON h.lineage = s.lineage AND h.moment <= s.moment_to;
CREATE VIEW living_evaluations AS SELECT h.* FROM evaluations AS h
    CROSS JOIN lineage_spans AS s ON h.lineage = s.lineage AND h.moment <= s.moment_to;
CREATE VIEW living_decisions AS SELECT h.* FROM decisions AS h
    CROSS JOIN lineage_spans AS s ON h.lineage = s.lineage AND h.moment <= s.moment_to;
CREATE VIEW living_outcomes AS SELECT h.* FROM lineage_spans AS s
    JOIN decision_outcomes AS h ON h.lineage = s.lineage AND h.moment <= s.moment_to;
CREATE VIEW living_controls AS SELECT h.* FROM lineage_spans AS s
    JOIN controls AS h ON h.lineage = s.lineage AND h.moment <= s.moment_to;
CREATE VIEW living_setting_values AS SELECT h.* FROM lineage_spans AS s
    JOIN setting_values AS h ON h.lineage = s.lineage AND h.moment <= s.moment_to;

-- One state a document: trained, held_out, quarantined, set_aside or pending.
CREATE VIEW living_states AS
SELECT document,
    CASE WHEN is_trained THEN 'trained'
         WHEN admission = 'held_out' THEN 'held_out'
         WHEN dropped > released THEN 'set_aside'
         WHEN held >= released AND held > 0 THEN
             (SELECT h.state FROM living_holds AS h
              WHERE h.document = x.document ORDER BY h.position DESC, h.moment DESC LIMIT 1)
         WHEN admission = 'quarantined' AND released = 0 THEN 'quarantined'
         ELSE 'pending' END AS state,
    CASE WHEN is_trained OR admission = 'held_out' THEN NULL
         WHEN dropped > released THEN
             (SELECT json_extract(j.body, '$.reason') FROM journal AS j WHERE j.position = dropped)
         WHEN held >= released AND held > 0 THEN
             (SELECT h.reason FROM living_holds AS h
              WHERE h.document = x.document ORDER BY h.position DESC, h.moment DESC LIMIT 1)
         WHEN admission = 'quarantined' AND released = 0 THEN reason
         ELSE NULL END AS reason
FROM (SELECT d.document, d.admission, d.reason,
          EXISTS (SELECT 1 FROM living_trained AS t WHERE t.document = d.document) AS is_trained,
          coalesce((SELECT max(j.position) FROM journal AS j
                    WHERE j.document = d.document AND j.kind = 'release'), 0) AS released,
          coalesce((SELECT max(j.position) FROM journal AS j
                    WHERE j.document = d.document AND j.kind = 'drop'), 0) AS dropped,
          coalesce((SELECT max(h.position) FROM living_holds AS h
                    WHERE h.document = d.document), 0) AS held
      FROM documents AS d) AS x;

CREATE VIEW living_settings AS
SELECT k.key,
    coalesce(CASE WHEN k.scope = 'now' THEN
                 (SELECT j.value FROM journal AS j WHERE j.kind = 'setting' AND j.name = k.key
                  ORDER BY j.position DESC LIMIT 1) END,
             (SELECT v.value FROM living_setting_values AS v WHERE v.key = k.key
              ORDER BY v.moment DESC LIMIT 1),
             k.default_value) AS value,
    coalesce(CASE WHEN k.scope = 'now' THEN
                 (SELECT max(j.position) FROM journal AS j
                  WHERE j.kind = 'setting' AND j.name = k.key) END,
             (SELECT v.position FROM living_setting_values AS v WHERE v.key = k.key
              ORDER BY v.moment DESC LIMIT 1),
             0) AS position
FROM setting_keys AS k;

CREATE VIEW v1_documents AS
SELECT d.document, d.feed, d.source, d.guid, d.url, d.url_display, d.title, d.title_display,
    d.author, d.author_display, d.published, d.updated, d.language, d.domain, d.bytes,
    d.content_hash, d.admission, s.state, s.reason, d.probe, d.revises, d.replaced,
    t.rank AS trained_rank, t.lineage, t.first_step, t.last_step, t.tokens,
    t.bytes AS trained_bytes, t.nll,
    round(t.nll / (t.bytes * 0.6931471805599453), 6) AS bits_per_byte,
    j.journalled_at, d.near AS near_duplicate_of
FROM documents AS d
    JOIN journal AS j ON j.position = d.document
    JOIN living_states AS s ON s.document = d.document
    LEFT JOIN living_trained AS t ON t.document = d.document;

-- The trained documents alone, cheap to read by rank: what policies look at.
CREATE VIEW v1_trained AS
SELECT t.rank AS trained_rank, t.document, d.domain, d.source, d.feed, coalesce((SELECT l.branch FROM lineages AS l WHERE l.lineage = t.lineage), t.lineage)
        AS lineage, t.first_step,
    t.last_step, t.tokens, t.bytes, t.nll,
    round(t.nll / (t.bytes * 0.6931471805599453), 6) AS bits_per_byte,
    EXISTS (SELECT 1 FROM living_holds AS h
            WHERE h.document = t.document AND h.moment > t.moment) AS withdrawn
FROM living_trained AS t JOIN documents AS d ON d.document = t.document;

-- What is left of documents that were forgotten.
CREATE VIEW v1_forgotten AS
SELECT f.document, f.position, f.hash, f.refused, f.forgotten_at FROM forgotten AS f;

CREATE VIEW v1_journal AS
SELECT j.position, j.kind, coalesce(j.document, d.document) AS document, j.name, j.value,
    json_extract(j.body, '$.reason') AS reason, j.body, c.step AS done_step, c.outcome,
    j.journalled_at
FROM journal AS j
    LEFT JOIN documents AS d ON d.document = j.position
    LEFT JOIN living_controls AS c ON c.position = j.position;

-- Each feed's share of the bytes of the newest feed.share_window documents that were admitted.
CREATE VIEW living_shares AS
SELECT feed, round(CAST(sum(bytes) AS REAL) / nullif(sum(sum(bytes)) OVER (), 0), 6) AS share
FROM (SELECT feed, bytes FROM documents WHERE admission = 'train' ORDER BY document DESC
      LIMIT (SELECT CAST(value AS INTEGER) FROM living_settings WHERE key = 'feed.share_window'))
GROUP BY feed;

CREATE VIEW v1_feeds AS
SELECT f.feed, f.name, f.url_display AS url, f.format, f.interval_s,
    CASE WHEN f.removed IS NOT NULL THEN 'removed' WHEN f.gone THEN 'gone' ELSE 'active' END
        AS state,
    f.position, f.removed,
    (SELECT count(*) FROM documents AS d WHERE d.feed = f.feed) AS documents,
    (SELECT count(*) FROM documents AS d WHERE d.feed = f.feed AND d.revises IS NOT NULL)
        AS revisions,
    (SELECT count(*) FROM documents AS d WHERE d.feed = f.feed AND d.admission = 'held_out')
        AS held_out,
    (SELECT count(*) FROM documents AS d JOIN living_trained AS t ON t.document = d.document
     WHERE d.feed = f.feed) AS trained,
    f.duplicates, f.rejected, f.polls, f.failures, f.http_status, f.error, f.bytes_fetched,
    f.etag, f.last_modified, f.polled_at,
    CASE WHEN f.next_poll_at_ms > 0
         THEN strftime('%Y-%m-%dT%H:%M:%SZ', f.next_poll_at_ms / 1000, 'unixepoch') END
        AS next_poll_at,
    (SELECT count(*) FROM documents AS d WHERE d.feed = f.feed AND d.admission = 'quarantined')
        AS quarantined,
    coalesce(r.share, 0.0) AS share, f.ttl_s, f.ca_file, f.fulltext
FROM feeds AS f LEFT JOIN living_shares AS r ON r.feed = f.feed;

CREATE VIEW v1_pages AS
SELECT p.feed, p.document, d.url_display AS url, p.problem, p.http_status, p.fetched_at
FROM entry_pages AS p LEFT JOIN documents AS d ON d.document = p.document;

-- One row: what waits for training, against the bounds that make fetching wait.  While it is less
-- than a batch may need (batch_bytes, 64 bytes a token, the longest there is), it is not full, whatever the bounds say.
CREATE VIEW v1_inbox AS
SELECT documents, bytes, max_documents, max_bytes, batch_bytes,
    (documents >= max_documents OR bytes >= max_bytes) AND bytes >= batch_bytes AS is_full
FROM (SELECT count(*) AS documents, coalesce(sum(d.bytes), 0) AS bytes
      FROM documents AS d
      WHERE d.admission = 'train' AND d.document > (SELECT t.position FROM trainer AS t)),
    (SELECT max(CAST(value AS INTEGER)) FILTER (WHERE key = 'inbox.max_documents')
            AS max_documents,
        max(CAST(value AS INTEGER)) FILTER (WHERE key = 'inbox.max_bytes') AS max_bytes,
        64 * max(CAST(value AS INTEGER)) FILTER (WHERE key = 'train.rows')
            * max(CAST(value AS INTEGER)) FILTER (WHERE key = 'model.context') AS batch_bytes
     FROM living_settings
     WHERE key IN ('inbox.max_documents', 'inbox.max_bytes', 'train.rows', 'model.context'));

CREATE VIEW v1_steps AS
SELECT h.step, h.lineage, h.position, h."offset", h.new_tokens, h.new_bytes, h.replay_tokens,
    h.nll_new, h.nll_replay,
    round(h.nll_new / (nullif(h.new_bytes, 0) * 0.6931471805599453), 6) AS bits_per_byte,
    h.grad_norm, h.learning_rate, h.step_seconds,
    round((h.new_tokens + h.replay_tokens) / nullif(h.step_seconds, 0), 1) AS tokens_per_s
FROM living_steps AS h;

-- Every freezing and thawing; in_force: the newest of its part.
CREATE VIEW v1_freezes AS
SELECT f.step, f.lineage, f.layer, f.part, nullif(f.generation, -1) AS generation, f.frozen,
    NOT EXISTS (SELECT 1 FROM living_freezes AS x
                WHERE x.layer = f.layer AND x.part = f.part AND x.generation = f.generation
                    AND x.moment > f.moment) AS in_force,
    f.reason, f.decision, f.hash
FROM living_freezes AS f;

CREATE VIEW v1_generations AS
SELECT b.layer, b.generation, b.lineage, b.subkeys_from, b.subkeys_to, b.first_expert, b.n_experts,
    CASE WHEN f.frozen THEN 'frozen' ELSE
        (SELECT x.state FROM living_generation_states AS x
         WHERE x.layer = b.layer AND x.generation = b.generation
         ORDER BY x.moment DESC, CASE x.state WHEN 'born' THEN 0 WHEN 'opening' THEN 1
                                              ELSE 2 END DESC LIMIT 1) END AS state,
    b.step AS born_step, b.documents AS born_documents,
    (SELECT min(x.step) FROM living_generation_states AS x
     WHERE x.layer = b.layer AND x.generation = b.generation AND x.state = 'opening')
        AS opening_step,
    (SELECT min(x.step) FROM living_generation_states AS x
     WHERE x.layer = b.layer AND x.generation = b.generation AND x.state = 'opened')
        AS opened_step,
    CASE WHEN f.frozen THEN f.step END AS frozen_step,
    b.reason, nullif(b.decision, 0) AS decision,
    CASE WHEN f.frozen THEN f.hash END AS frozen_hash
FROM living_generation_states AS b
    LEFT JOIN v1_freezes AS f ON f.layer = b.layer AND f.generation = b.generation
        AND f.part = 'experts' AND f.in_force
WHERE b.state = 'born';

CREATE VIEW v1_expert_usage AS
SELECT u.step, u.lineage, u.layer, u.generation, u.window_steps, u.picks, u.gate_mass,
    u.used_experts, u.n_experts,
    round(CAST(u.used_experts AS REAL) / nullif(u.n_experts, 0), 6) AS used_share,
    u.unevenness, u.hub_share, u.idle_experts
FROM living_usage AS u;

-- Dead experts that began anew, as incarnation.
CREATE VIEW v1_recycled AS
SELECT r.step, r.lineage, r.layer, r.expert, r.incarnation, r.generation, r.idle_windows, r.decision
FROM living_recycled AS r;

CREATE VIEW v1_provenance AS
SELECT p.document, p.layer, p.expert, p.incarnation, p.generation, p.weight, p.lineage,
    d.domain, d.title_display
FROM living_provenance AS p JOIN documents AS d ON d.document = p.document;

-- Experts that provenance knows: which documents taught each.
CREATE VIEW v1_experts AS
SELECT p.layer, p.expert, p.incarnation, p.generation, count(*) AS documents,
    round(sum(p.weight), 6) AS weight, min(p.document) AS first_document,
    max(p.document) AS last_document
FROM living_provenance AS p GROUP BY p.layer, p.expert, p.incarnation, p.generation;

CREATE VIEW v1_probes AS
SELECT p.probe, p.name, p.kind,
    (SELECT count(*) FROM documents AS d WHERE d.probe = p.probe) AS documents,
    (SELECT coalesce(sum(d.bytes), 0) FROM documents AS d WHERE d.probe = p.probe) AS bytes,
    p.contaminated,
    (SELECT count(*) FROM probe_refusals AS r JOIN documents AS d ON d.document = r.document
     WHERE d.probe = p.probe) AS refused
FROM probes AS p;

-- The plus: else SQLite 3.40 looks for moment <= moment_to among scores, not for the one moment.
CREATE VIEW v1_evaluations AS
SELECT e.evaluation, e.lineage, e.step, e.position, e.documents, e.reason, s.probe,
    p.name AS domain, p.kind AS probe_kind, s.nll, s.bytes, s.tokens,
    round(s.nll / (nullif(s.bytes, 0) * 0.6931471805599453), 6) AS bits_per_byte,
    e.evaluated_at
FROM living_evaluations AS e
    JOIN scores AS s ON s.lineage = e.lineage AND s.moment = +e.moment
    JOIN probes AS p ON p.probe = s.probe;

-- Generations on their way from closed to open.
CREATE VIEW v1_openings AS
SELECT o.step, o.lineage, o.layer, o.generation, o.opening_steps, round(o.bias, 6) AS bias,
    round(o.pick_share, 6) AS pick_share, round(o.gate_share, 6) AS gate_share
FROM living_openings AS o;

-- Scores from the birth of a generation to the first evaluation once it was open, against those of the
-- evaluation before its birth.
CREATE VIEW v1_opening_scores AS
SELECT g.layer, g.generation, e.evaluation, e.step, e.probe, e.domain, e.bits_per_byte,
    b.bits_per_byte AS before, round(e.bits_per_byte / nullif(b.bits_per_byte, 0) - 1, 6) AS change
FROM (SELECT layer, generation,
          (SELECT max(x.evaluation) FROM living_evaluations AS x WHERE x.step <= v.born_step)
              AS evaluation_before,
          (SELECT min(x.evaluation) FROM living_evaluations AS x
           WHERE x.step > coalesce(v.opened_step, 9223372036854775807)) AS evaluation_open
      FROM v1_generations AS v WHERE generation > 0) AS g
    JOIN v1_evaluations AS e ON e.evaluation > g.evaluation_before
        AND e.evaluation <= coalesce(g.evaluation_open, 9223372036854775807)
    JOIN v1_evaluations AS b ON b.evaluation = g.evaluation_before AND b.probe = e.probe;

-- Where the picks of a probe's tokens went.
CREATE VIEW v1_routing AS
SELECT r.evaluation, r.probe, p.name AS domain, r.layer, j.key AS generation, j.value AS picks,
    round(CAST(j.value AS REAL) / nullif(r.picks, 0), 6) AS share
FROM living_routing AS r JOIN probes AS p ON p.probe = r.probe, json_each(r.generations) AS j;

-- leak: share of a probe's picks that go to generations born after its domain was learned; drift: half
-- the summed differences of its picks' shares of 64 sets of experts from those at the first evaluation
-- after that.  Both NULL until then, and where the domain did not come as a block.
CREATE VIEW v1_leak AS
SELECT r.evaluation, e.step, e.documents, r.probe, p.name AS domain, r.layer, r.learned_documents,
    CASE WHEN r.learned_documents IS NOT NULL THEN
        round((SELECT total(j.value) FROM json_each(r.generations) AS j
                   JOIN living_generation_states AS g ON g.layer = r.layer
                       AND g.generation = j.key AND g.state = 'born'
               WHERE g.documents >= r.learned_documents) / nullif(r.picks, 0), 6) END AS leak,
    CASE WHEN o.picks > 0 AND r.picks > 0 THEN
        round((SELECT 0.5 * total(abs(CAST(a.value AS REAL) / r.picks
                                      - CAST(b.value AS REAL) / o.picks))
               FROM json_each(r.sketch) AS a JOIN json_each(o.sketch) AS b ON b.key = a.key), 6) END AS drift
FROM living_routing AS r
    JOIN living_evaluations AS e ON e.evaluation = r.evaluation
    JOIN probes AS p ON p.probe = r.probe
    LEFT JOIN living_routing AS o ON o.probe = r.probe AND o.layer = r.layer
        AND o.evaluation = (SELECT min(x.evaluation) FROM living_evaluations AS x
                            WHERE x.documents >= r.learned_documents);

-- A domain comes as a block when its trained documents follow each other without a gap.
CREATE VIEW v1_blocks AS
SELECT row_number() OVER (ORDER BY first_rank) AS stage, domain, documents, first_rank, last_rank,
    last_rank - first_rank + 1 = documents AS is_block
FROM (SELECT d.domain, count(*) AS documents, min(t.rank) AS first_rank, max(t.rank) AS last_rank
      FROM living_trained AS t JOIN documents AS d ON d.document = t.document GROUP BY d.domain);

-- Scores over time.  Losses: a positive forgetting, like a positive BWT, means the score got worse.
-- best: lowest score up to this evaluation; learned: score at the first evaluation once the last
-- document of the domain so far was trained (NULL before that, and for interleaved domains).
CREATE VIEW v1_forgetting AS
SELECT evaluation, step, documents, probe, domain, bits_per_byte, best,
    round(bits_per_byte - best, 6) AS forgetting, learned,
    CASE WHEN learned IS NOT NULL THEN round(bits_per_byte - learned, 6) END AS since_learned
FROM (SELECT e.evaluation, e.step, e.documents, e.probe, e.domain, e.bits_per_byte,
          min(e.bits_per_byte) OVER (PARTITION BY e.probe ORDER BY e.evaluation
                                     ROWS UNBOUNDED PRECEDING) AS best,
          CASE WHEN b.is_block AND e.documents >= b.last_rank THEN
              (SELECT f.bits_per_byte FROM v1_evaluations AS f
               WHERE f.probe = e.probe AND f.documents >= b.last_rank
               ORDER BY f.evaluation LIMIT 1) END AS learned
      FROM v1_evaluations AS e
          LEFT JOIN v1_blocks AS b ON b.domain = e.domain);

-- R: score of every probe at the end of every stage (the first evaluation once its last document was
-- trained and before the next stage's last).  Stage 0 is the evaluation before any document.
CREATE VIEW v1_matrix AS
WITH stages AS (
    SELECT 0 AS stage, NULL AS stage_domain,
        (SELECT min(e.evaluation) FROM living_evaluations AS e WHERE e.documents = 0) AS evaluation
    UNION ALL
    SELECT b.stage, b.domain,
        (SELECT min(e.evaluation) FROM living_evaluations AS e
         WHERE e.documents >= b.last_rank
             AND e.documents < coalesce((SELECT n.last_rank FROM v1_blocks AS n
                                         WHERE n.stage = b.stage + 1), 9223372036854775807))
    FROM v1_blocks AS b)
SELECT s.stage, s.stage_domain, e.evaluation, e.probe, e.domain, b.stage AS domain_stage,
    e.bits_per_byte
FROM stages AS s
    JOIN v1_evaluations AS e ON e.evaluation = s.evaluation
    LEFT JOIN v1_blocks AS b ON b.domain = e.domain;

-- One row.  bwt: mean over earlier domains of (score after the last stage - score after their own);
-- positive is forgetting.  fwt: mean of (score before their own stage - score before any document);
-- negative is transfer.  Both NULL unless every trained domain came as one block.
CREATE VIEW v1_summary AS
WITH shape AS (
    SELECT count(*) AS stages, coalesce(min(is_block), 0) AS all_blocks FROM v1_blocks),
latest AS (
    SELECT max(evaluation) AS evaluation FROM living_evaluations)
SELECT shape.stages AS domains, latest.evaluation,
    (SELECT round(avg(f.bits_per_byte), 6) FROM v1_forgetting AS f
     WHERE f.evaluation = latest.evaluation) AS bits_per_byte,
    (SELECT round(avg(f.forgetting), 6) FROM v1_forgetting AS f
     WHERE f.evaluation = latest.evaluation) AS forgetting,
    CASE WHEN shape.all_blocks THEN
        (SELECT round(avg(z.bits_per_byte - o.bits_per_byte), 6)
         FROM v1_matrix AS z
             JOIN v1_matrix AS o ON o.probe = z.probe AND o.stage = o.domain_stage
         WHERE z.stage = shape.stages AND z.domain_stage < shape.stages) END AS bwt,
    CASE WHEN shape.all_blocks THEN
        (SELECT round(avg(q.bits_per_byte - z.bits_per_byte), 6)
         FROM v1_matrix AS q
             JOIN v1_matrix AS z ON z.probe = q.probe AND z.stage = 0
         WHERE q.stage = q.domain_stage - 1 AND q.domain_stage > 1) END AS fwt
FROM shape, latest;

CREATE VIEW v1_policies AS
SELECT v.moment AS use, p.name, p.hash, v.position,
    coalesce((SELECT c.step FROM living_controls AS c WHERE c.position = v.position), 0) AS step,
    v.moment = (SELECT max(x.moment) FROM living_setting_values AS x
                WHERE x.key = 'policy_hash') AS in_force,
    p.text
FROM living_setting_values AS v JOIN policies AS p ON p.hash = v.value
WHERE v.key = 'policy_hash';

CREATE VIEW v1_decisions AS
SELECT d.decision, d.lineage, d.step, d.kind, d.layer, d.amount, d.reason, d.evidence, d.origin,
    (SELECT o.outcome FROM living_outcomes AS o WHERE o.decision = d.decision
     ORDER BY o.moment DESC LIMIT 1) AS outcome,
    nullif(d.part, '') AS part
FROM living_decisions AS d;

CREATE VIEW v1_schedules AS
SELECT s.schedule, s.spec, s.action, s.every_documents, s.position, s.removed,
    (SELECT count(*) FROM living_decisions AS d WHERE d.origin = 'schedule ' || s.schedule)
        AS decisions,
    (SELECT count(*) FROM journal AS j WHERE j.kind = s.action
         AND json_extract(j.body, '$.reason') = 'schedule ' || s.schedule) AS journalled,
    CASE WHEN EXISTS (SELECT 1 FROM journal AS j WHERE j.kind = s.action
             AND json_extract(j.body, '$.reason') = 'schedule ' || s.schedule) THEN
        strftime('%Y-%m-%dT%H:%M:%SZ', s.last_due_at_ms / 1000, 'unixepoch') END AS last_due_at
FROM schedules AS s;

CREATE VIEW v1_events AS
SELECT event, level, kind, message, body, lineage, step, happened_at FROM events;

CREATE VIEW v1_snapshots AS
SELECT s.id, s.parent, s.tag, s.lineage, s.step, s.position, s.documents, s.tokens, s.model_hash,
    EXISTS (SELECT 1 FROM lineage_spans AS l
            WHERE l.lineage = s.lineage AND s.moment <= l.moment_to) AS living,
    s.bytes_total, s.bytes_unique, s.bytes_shared, s.saved_at,
    CASE WHEN EXISTS (SELECT 1 FROM lineage_spans AS l
                      WHERE l.lineage = s.lineage AND s.moment <= l.moment_to) THEN
        (SELECT round(sum(t.nll) / (nullif(sum(t.bytes), 0) * 0.6931471805599453), 6)
         FROM living_trained AS t
         WHERE t.nll IS NOT NULL AND t.rank > s.documents - 32 AND t.rank <= s.documents) END
        AS bits_per_byte,
    (SELECT round(avg(c.nll / (nullif(c.bytes, 0) * 0.6931471805599453)), 6) FROM scores AS c
     WHERE c.lineage = s.lineage AND c.moment =
         (SELECT max(e.moment) FROM evaluations AS e
          WHERE e.lineage = s.lineage AND e.step = s.step)) AS held_out_bits_per_byte
FROM snapshots AS s WHERE s.kind = 'snapshot';

CREATE VIEW v1_lineages AS
SELECT l.lineage, l.parent, l.fork_step, l.fork_position, l.snapshot, l.mode, l.reason, l.position,
    s.lineage IS NOT NULL AS living,
    l.lineage = (SELECT t.lineage FROM trainer AS t) AS current,
    (SELECT max(h.step) FROM steps AS h WHERE h.lineage = l.lineage) AS last_step,
    l.opened_at
FROM lineages AS l LEFT JOIN lineage_spans AS s ON s.lineage = l.lineage;

CREATE VIEW v1_quarantine AS
SELECT s.document, s.state, s.reason, d.domain, d.source, d.title_display, d.bytes,
    j.journalled_at, d.near AS near_duplicate_of, d.feed, d.url_display, h.lineage, h.step
FROM living_states AS s
    JOIN documents AS d ON d.document = s.document
    JOIN journal AS j ON j.position = s.document
    LEFT JOIN living_holds AS h ON h.document = s.document AND h.position =
        (SELECT max(g.position) FROM living_holds AS g WHERE g.document = s.document)
        AND h.moment = (SELECT max(g.moment) FROM living_holds AS g
                        WHERE g.document = s.document AND g.position = h.position)
WHERE s.state IN ('quarantined', 'set_aside');

CREATE VIEW v1_settings AS
SELECT k.key, s.value, k.default_value, k.type, k.scope, s.position, k.help
FROM setting_keys AS k JOIN living_settings AS s ON s.key = k.key;
