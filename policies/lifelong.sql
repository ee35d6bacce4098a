-- lifelong: replay a tenth, average the weights, grow when the stream surprises, evaluate as domains end.
--
-- Replay: at most a tenth of all rows so far, drawn from every source alike but the one being learned,
-- and counted four times: what is learned now needs no repeating, and what is old gets little time.
-- Every old source asks for 2.5 % of the rows, so a stream with little behind it saves for later.
-- Average: scores come from a running average of the weights over the newest eighth of all steps.
-- Training forgets in the first hundred steps of a new domain and wavers at every step; the average
-- does neither, and a window that grows with the stream protects more the more there is to protect.
-- docs/lifelong.md has what each of the two does for forgetting and for learning.
-- Growth: the recent documents (surprise.recent) cost more bits a byte than those before them
-- (surprise.before) by a margin: the stream has moved on to something the model does not know.  Or those
-- of one source do, which among other sources changes the level of all too little.  Or a source has come
-- to cost more so slowly that no document surprises: window by window its level rises.  Or the
-- pool is saturated: nearly every expert was picked in the last usage window; off by default, because a
-- window of 50 steps picks every expert of a small pool and the pool would grow without end.  Both wait
-- for a cool-down of steps since the last growth was decided, and stop at a cap of sub-keys.
-- Freezing older generations is off: published evidence has freezing experts below a moving router harm,
-- and nothing measured here speaks for it yet.  Set freeze.older to 1 to try it.
-- Everything here is decided from what was trained, so replay decides the same.

CREATE VIEW policy_settings (key, value) AS VALUES
    ('replay.share', 0.10),          -- share of all rows drawn from earlier documents, at most
    ('replay.each', 0.025),          -- of a batch's rows, for every source but the one being learned
    ('replay.weight', 4),            -- times that a replayed token counts
    ('replay.balance', 0),           -- 0: sources alike, 1: by their bytes
    ('replay.current', 0),           -- share of its chance that the source being learned keeps
    ('average.window', 100000),      -- steps, at most
    ('average.share', 0.12),         -- of all steps so far, at most
    ('surprise.recent', 8),          -- documents
    ('surprise.before', 32),         -- documents
    ('surprise.margin', 0.10),       -- share of the level before
    ('source.margin', 0.10),         -- the same among a source's own documents; below 0: never
    ('source.sigmas', 4),            -- and by so many standard errors
    ('source.span', 256),            -- documents, of all sources, in which they are looked for
    ('drift.window', 64),            -- documents of a source in a window, of 8; 0: drift is not looked for
    ('drift.margin', 0.08),          -- share by which the newest window is above the lowest
    ('drift.trend', 20),             -- pairs of windows that rise, less those that fall, of 28
    ('saturation.share', 2),         -- experts used in a window; above 1: never
    ('grow.subkeys', 16),            -- sub-keys a growth adds to each codebook
    ('grow.cap', 512),               -- sub-keys a codebook never exceeds
    ('grow.cooldown_steps', 200),
    ('freeze.older', 0),             -- 1: freeze a generation once the next one is open
    ('evaluate.every', 1024),          -- documents
    ('evaluate.least', 48),           -- documents between evaluations at a change of domain
    ('evaluate.unseen', 48),         -- documents before a shift that are of other domains
    ('evaluate.after.1', 4),         -- documents after a shift, growth or rollback; 0: never
    ('evaluate.after.2', 16),
    ('evaluate.after.3', 48),
    ('alarm.margin', 0.25),          -- share by which a probe is worse than the best of 8 evaluations
    ('alarm.every', 256),             -- documents between alarms
    ('snapshot.every', 1024);         -- documents

-- How many documents and steps the living history has.
CREATE VIEW policy_now (documents, step, domain) AS
SELECT trained_rank, last_step, domain FROM v1_trained ORDER BY trained_rank DESC LIMIT 1;

-- Level of surprise: mean bits a byte of the recent documents and of those before them.
CREATE VIEW policy_level (recent, before, n_recent, n_before) AS
SELECT round(avg(t.bits_per_byte) FILTER (WHERE t.trained_rank > n.documents - k.recent), 4),
    round(avg(t.bits_per_byte) FILTER (WHERE t.trained_rank <= n.documents - k.recent), 4),
    count(*) FILTER (WHERE t.trained_rank > n.documents - k.recent),
    count(*) FILTER (WHERE t.trained_rank <= n.documents - k.recent)
FROM policy_now AS n
    JOIN (SELECT (SELECT value FROM policy_settings WHERE key = 'surprise.recent') AS recent,
              (SELECT value FROM policy_settings WHERE key = 'surprise.before') AS before) AS k
    JOIN v1_trained AS t ON t.trained_rank > n.documents - k.recent - k.before
WHERE t.bits_per_byte IS NOT NULL;

-- Share of all experts that were used in the newest window.
CREATE VIEW policy_saturation (share) AS
SELECT round(sum(used_experts) * 1.0 / max(sum(n_experts), 1), 4) FROM v1_expert_usage
WHERE step = (SELECT step FROM v1_expert_usage ORDER BY step DESC LIMIT 1);

-- The newest documents of the domain of the newest one, newest first.
CREATE VIEW policy_source (back, bits_per_byte) AS
SELECT row_number() OVER (ORDER BY t.trained_rank DESC), t.bits_per_byte
FROM policy_now AS n
    JOIN (SELECT value AS span FROM policy_settings WHERE key = 'source.span') AS k
    JOIN v1_trained AS t ON t.trained_rank > n.documents - k.span
WHERE t.domain = n.domain AND t.bits_per_byte IS NOT NULL;

-- Surprise of one source: as policy_level, among its own documents, and by so many standard errors of
-- the recent ones that a source whose documents differ much does not fire.
CREATE VIEW policy_source_level (recent, before, surprised) AS
SELECT round(r, 4), round(b, 4),
    n_recent = recent AND n_before = before AND r > b * (1 + margin)
        AND (r - b) * (r - b) * recent > sigmas * sigmas * (bb - b * b)
FROM (SELECT k.*, avg(s.bits_per_byte) FILTER (WHERE s.back <= k.recent) AS r,
          avg(s.bits_per_byte) FILTER (WHERE s.back > k.recent) AS b,
          avg(s.bits_per_byte * s.bits_per_byte) FILTER (WHERE s.back > k.recent) AS bb,
          count(*) FILTER (WHERE s.back <= k.recent) AS n_recent,
          count(*) FILTER (WHERE s.back > k.recent) AS n_before
      FROM (SELECT max(value) FILTER (WHERE key = 'surprise.recent') AS recent,
                max(value) FILTER (WHERE key = 'surprise.before') AS before,
                max(value) FILTER (WHERE key = 'source.margin') AS margin,
                max(value) FILTER (WHERE key = 'source.sigmas') AS sigmas
            FROM policy_settings) AS k
          JOIN policy_source AS s ON s.back <= k.recent + k.before);

-- Slow drift: the level of the newest documents of a source in 8 windows, 0 the newest; how many more
-- pairs of windows rise than fall (of 28), and how far the newest is above the lowest.
CREATE VIEW policy_windows (back, level) AS
SELECT CAST((t.back - 1) / k.size AS INTEGER), avg(t.bits_per_byte)
FROM (SELECT value AS size FROM policy_settings WHERE key = 'drift.window') AS k
    JOIN (SELECT row_number() OVER (ORDER BY t.trained_rank DESC) AS back, t.bits_per_byte
          FROM policy_now AS n
              JOIN (SELECT value AS size FROM policy_settings WHERE key = 'drift.window') AS k
              JOIN v1_trained AS t ON t.trained_rank > n.documents - 16 * k.size
          WHERE t.domain = n.domain AND t.bits_per_byte IS NOT NULL) AS t ON t.back <= 8 * k.size
GROUP BY CAST((t.back - 1) / k.size AS INTEGER) HAVING count(*) = k.size;

CREATE VIEW policy_drift (drifting) AS
SELECT count(*) = 8
    AND max(level) FILTER (WHERE back = 0)
        > min(level) * (1 + (SELECT value FROM policy_settings WHERE key = 'drift.margin'))
    AND (SELECT sum((newer.level > older.level) - (newer.level < older.level))
         FROM policy_windows AS newer JOIN policy_windows AS older ON older.back > newer.back)
        >= (SELECT value FROM policy_settings WHERE key = 'drift.trend')
FROM policy_windows;

-- What the newest growth, if any, was decided at.
CREATE VIEW policy_grown (step, documents) AS
SELECT coalesce(max(step), 0), coalesce(max(documents), -1000000000)
FROM (SELECT step, json_extract(evidence, '$.documents') AS documents FROM v1_decisions
      WHERE kind = 'grow' ORDER BY decision DESC LIMIT 1);

-- Drift is looked for as every drift.window-th document is trained, and in what came since a growth.
CREATE VIEW policy_reason (reason) AS
SELECT CASE
    WHEN (SELECT n_recent >= (SELECT value FROM policy_settings WHERE key = 'surprise.recent')
              AND n_before >= n_recent
              AND recent > before * (1 + (SELECT value FROM policy_settings
                                          WHERE key = 'surprise.margin')) FROM policy_level)
        THEN 'surprise: recent documents cost more than those before'
    WHEN (SELECT value FROM policy_settings WHERE key = 'saturation.share') <= 1
        AND (SELECT share FROM policy_saturation)
            >= (SELECT value FROM policy_settings WHERE key = 'saturation.share')
        THEN 'saturation: nearly every expert is in use'
    WHEN (SELECT value FROM policy_settings WHERE key = 'source.margin') >= 0
        AND (SELECT surprised FROM policy_source_level)
        THEN 'surprise: recent documents of a source cost more than its earlier ones'
    WHEN d.size > 0 AND n.documents - g.documents >= 8 * d.size
        AND (SELECT t.last_step FROM v1_trained AS t
             WHERE t.trained_rank = n.documents / d.size * d.size) = n.step
        AND (SELECT drifting FROM policy_drift)
        THEN 'drift: documents of a source have slowly come to cost more'
    END
FROM policy_now AS n JOIN policy_grown AS g
    JOIN (SELECT CAST(value AS INTEGER) AS size FROM policy_settings
          WHERE key = 'drift.window') AS d;

-- The newest generation: others are open, or the trainer refuses to grow.
CREATE VIEW policy_newest (subkeys, closed) AS
SELECT max(subkeys_to), max(generation > 0 AND state IN ('born', 'opening'))
FROM v1_generations
WHERE generation = (SELECT generation FROM v1_generations ORDER BY generation DESC LIMIT 1);

CREATE VIEW decide_grow (layer, amount, reason, evidence) AS
SELECT -1, CAST(x.more AS INTEGER), x.reason,
    json_object('recent', l.recent, 'before', l.before, 'subkeys', x.subkeys, 'step', x.step,
                'documents', x.documents, 'domain', x.domain)
FROM (SELECT n.step, n.documents, n.domain, s.more, p.subkeys,
          CASE WHEN n.step - g.step >= s.cooldown AND NOT p.closed AND p.subkeys + s.more <= s.cap
               THEN (SELECT reason FROM policy_reason) END AS reason
      FROM policy_now AS n JOIN policy_grown AS g JOIN policy_newest AS p
          JOIN (SELECT max(value) FILTER (WHERE key = 'grow.subkeys') AS more,
                    max(value) FILTER (WHERE key = 'grow.cap') AS cap,
                    max(value) FILTER (WHERE key = 'grow.cooldown_steps') AS cooldown
                FROM policy_settings) AS s) AS x
    JOIN policy_level AS l
WHERE x.reason IS NOT NULL;

CREATE VIEW decide_freeze (layer, amount, reason, evidence) AS
SELECT g.layer, g.generation, 'the next generation is open',
    json_object('generation', g.generation, 'next_opened_step', o.opened_step)
FROM v1_generations AS g
    JOIN v1_generations AS o ON o.layer = g.layer AND o.generation = g.generation + 1
        AND o.opened_step IS NOT NULL
WHERE g.frozen_step IS NULL
    AND (SELECT value FROM policy_settings WHERE key = 'freeze.older') = 1
    AND NOT EXISTS (SELECT 1 FROM v1_decisions AS d WHERE d.kind = 'freeze'
                        AND d.layer = g.layer AND d.amount = g.generation)
ORDER BY g.layer, g.generation;

-- The newest decisions to evaluate: documents by then, whether at a shift, whether after a change.
CREATE VIEW policy_evaluated (documents, shift, dense) AS
SELECT json_extract(evidence, '$.documents'), json_extract(evidence, '$.shift'),
    coalesce(json_extract(evidence, '$.dense'), 0)
FROM v1_decisions WHERE kind = 'evaluate' ORDER BY decision DESC LIMIT 16;

-- Documents by the newest shift, growth and rollback.
CREATE VIEW policy_changed (documents) AS
SELECT max(documents) FROM policy_evaluated WHERE shift
UNION ALL
SELECT (SELECT json_extract(evidence, '$.documents') FROM v1_decisions WHERE kind = 'grow'
        ORDER BY decision DESC LIMIT 1)
UNION ALL
SELECT max(t.trained_rank) FROM policy_now AS n JOIN v1_trained AS t
    ON t.trained_rank > n.documents - 64 AND t.trained_rank < n.documents
WHERE t.lineage IS NOT (SELECT x.lineage FROM v1_trained AS x WHERE x.trained_rank = n.documents);

-- Where the previous document was of another domain, or after many documents; and a few documents
-- after a shift (a domain that none of the newest documents was of), a growth or a rollback, because the
-- worst comes right after a change and is over soon (arXiv 2205.13452).
CREATE VIEW decide_evaluate (reason, evidence) AS
SELECT CASE WHEN x.since >= x.every THEN 'regular' WHEN x.changed THEN 'the domain changed'
            ELSE 'after a change' END,
    json_object('documents', x.documents, 'since', x.since, 'shift',
                x.changed AND x.domain NOT IN (SELECT t.domain FROM v1_trained AS t
                    WHERE t.trained_rank < x.documents AND t.trained_rank >= x.documents -
                        (SELECT value FROM policy_settings WHERE key = 'evaluate.unseen')),
                'dense', x.since < x.every AND NOT x.changed)
FROM (SELECT y.documents, y.domain, y.since, y.dense, y.every,
          y.domain IS NOT y.domain_before AND y.documents > 1
              AND y.since >= (SELECT value FROM policy_settings WHERE key = 'evaluate.least')
              AS changed
      FROM (SELECT n.documents, n.domain,
                n.documents - coalesce((SELECT max(documents) FROM policy_evaluated
                                        WHERE NOT dense), 0) AS since,
                coalesce((SELECT max(documents) FROM policy_evaluated), 0) AS dense,
                (SELECT value FROM policy_settings WHERE key = 'evaluate.every') AS every,
                (SELECT t.domain FROM v1_trained AS t WHERE t.trained_rank = n.documents - 1)
                    AS domain_before
            FROM policy_now AS n) AS y) AS x
WHERE x.since >= x.every OR x.changed
    OR EXISTS (SELECT 1 FROM policy_changed AS c JOIN policy_settings AS k
                   ON k.key GLOB 'evaluate.after.*' AND k.value > 0
               WHERE x.documents >= c.documents + k.value AND x.dense < c.documents + k.value);

CREATE VIEW decide_snapshot (reason, evidence) AS
SELECT 'regular', json_object('documents', n.documents)
FROM policy_now AS n
WHERE n.documents - coalesce((SELECT json_extract(evidence, '$.documents') FROM v1_decisions
                              WHERE kind = 'snapshot' ORDER BY decision DESC LIMIT 1), 0)
    >= (SELECT value FROM policy_settings WHERE key = 'snapshot.every');

-- A probe is worse than the best of its newest scores by a margin.  Once an evaluation, and not again
-- for alarm.every documents; `alarm.rollback` makes it more than words (schema/README.md).
CREATE VIEW decide_alarm (layer, amount, reason, evidence) AS
SELECT -1, e.evaluation, 'probe ' || w.domain || ' is worse by ' || w.worse || ' %',
    json_object('documents', n.documents, 'probe', w.domain, 'best', w.best, 'now', w.now)
FROM policy_now AS n
    JOIN (SELECT evaluation, documents FROM v1_evaluations ORDER BY evaluation DESC LIMIT 1) AS e
        ON e.documents > n.documents - 64
    JOIN (SELECT s.domain, min(s.bits_per_byte) AS best,
              max(s.bits_per_byte) FILTER (WHERE s.evaluation = v.evaluation) AS now,
              CAST(round(100 * (max(s.bits_per_byte) FILTER (WHERE s.evaluation = v.evaluation)
                                / min(s.bits_per_byte) - 1)) AS INTEGER) AS worse
          FROM (SELECT evaluation FROM v1_evaluations ORDER BY evaluation DESC LIMIT 1) AS v
              CROSS JOIN v1_evaluations AS s
          WHERE s.evaluation IN (v.evaluation, v.evaluation - 1, v.evaluation - 2,
                                 v.evaluation - 3, v.evaluation - 4, v.evaluation - 5,
                                 v.evaluation - 6, v.evaluation - 7)
          GROUP BY s.probe, s.domain) AS w
WHERE w.now > w.best * (1 + (SELECT value FROM policy_settings WHERE key = 'alarm.margin'))
    AND n.documents - coalesce((SELECT json_extract(evidence, '$.documents') FROM v1_decisions
                                WHERE kind = 'alarm' ORDER BY decision DESC LIMIT 1), -1000000000)
        >= (SELECT value FROM policy_settings WHERE key = 'alarm.every')
ORDER BY w.now / w.best DESC, w.domain LIMIT 1;
