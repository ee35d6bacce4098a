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
-- (surprise.before) by a margin: the stream has moved on to something the model does not know.  Or the
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
    ('saturation.share', 2),         -- experts used in a window; above 1: never
    ('grow.subkeys', 16),            -- sub-keys a growth adds to each codebook
    ('grow.cap', 512),               -- sub-keys a codebook never exceeds
    ('grow.cooldown_steps', 200),
    ('freeze.older', 0),             -- 1: freeze a generation once the next one is open
    ('evaluate.every', 1024),          -- documents
    ('evaluate.least', 48),           -- documents between evaluations at a change of domain
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
WHERE step = (SELECT max(step) FROM v1_expert_usage);

CREATE VIEW decide_grow (layer, amount, reason, evidence) AS
SELECT -1, CAST(s.subkeys AS INTEGER),
    CASE WHEN l.surprised THEN 'surprise: recent documents cost more than those before'
         ELSE 'saturation: nearly every expert is in use' END,
    json_object('recent', l.recent, 'before', l.before, 'saturation', l.share, 'subkeys',
                g.subkeys, 'step', n.step)
FROM policy_now AS n
    JOIN (SELECT max(subkeys_to) AS subkeys,
              count(*) FILTER (WHERE state IN ('born', 'opening')) AS closed
          FROM v1_generations) AS g
    JOIN (SELECT (SELECT value FROM policy_settings WHERE key = 'grow.subkeys') AS subkeys,
              (SELECT value FROM policy_settings WHERE key = 'grow.cap') AS cap,
              (SELECT value FROM policy_settings WHERE key = 'grow.cooldown_steps') AS cooldown)
        AS s
    JOIN (SELECT p.recent, p.before, u.share,
              p.n_recent >= (SELECT value FROM policy_settings WHERE key = 'surprise.recent')
                  AND p.n_before >= p.n_recent
                  AND p.recent > p.before * (1 + (SELECT value FROM policy_settings
                                                  WHERE key = 'surprise.margin')) AS surprised,
              coalesce(u.share >= (SELECT value FROM policy_settings
                                   WHERE key = 'saturation.share'), 0) AS saturated
          FROM policy_level AS p LEFT JOIN policy_saturation AS u) AS l
WHERE (l.surprised OR l.saturated)
    AND g.closed = (SELECT count(*) FROM v1_generations
                    WHERE generation = 0 AND state IN ('born', 'opening'))
    AND g.subkeys + s.subkeys <= s.cap
    AND n.step - coalesce((SELECT max(step) FROM v1_decisions WHERE kind = 'grow'), 0)
        >= s.cooldown;

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

-- Where the previous document was of another domain, or after many documents.
CREATE VIEW decide_evaluate (reason, evidence) AS
SELECT CASE WHEN x.domain IS NOT x.domain_before THEN 'the domain changed' ELSE 'regular' END,
    json_object('documents', x.documents, 'since', x.since)
FROM (SELECT n.documents, n.domain,
          n.documents - coalesce((SELECT max(json_extract(evidence, '$.documents'))
                                  FROM v1_decisions WHERE kind = 'evaluate'), 0) AS since,
          (SELECT t.domain FROM v1_trained AS t WHERE t.trained_rank = n.documents - 1)
              AS domain_before
      FROM policy_now AS n) AS x
WHERE x.since >= (SELECT value FROM policy_settings WHERE key = 'evaluate.every')
    OR (x.domain IS NOT x.domain_before AND x.documents > 1
        AND x.since >= (SELECT value FROM policy_settings WHERE key = 'evaluate.least'));

CREATE VIEW decide_snapshot (reason, evidence) AS
SELECT 'regular', json_object('documents', n.documents)
FROM policy_now AS n
WHERE n.documents - coalesce((SELECT max(json_extract(evidence, '$.documents'))
                              FROM v1_decisions WHERE kind = 'snapshot'), 0)
    >= (SELECT value FROM policy_settings WHERE key = 'snapshot.every');
