-- ewc: elastic weight consolidation: what old text made important is pulled back to where it was.
--
-- An anchor is set when the recent documents (surprise.recent) cost more bits a byte than those before
-- them (surprise.before) by a margin - the stream has moved on - at least anchor.cooldown_steps after
-- the last one.  From then on every weight is pulled to where it stood, by how important it was: see
-- src/model/anchor.h for the formula and its sources.  No old text is trained on again.
-- The first anchor waits for as many steps as later ones: a model that knows nothing has nothing to keep.
-- Everything here is decided from what was trained, so replay decides the same.

CREATE VIEW policy_settings (key, value) AS VALUES
    ('anchor.ewc', 5),                -- strength; 1: as weight decay of 1 would pull, for mean importance
    ('anchor.decay', 0.9),            -- share of earlier importance that an anchor keeps
    ('anchor.cooldown_steps', 200),
    ('surprise.recent', 8),           -- documents
    ('surprise.before', 32),          -- documents
    ('surprise.margin', 0.10),        -- share of the level before
    ('evaluate.every', 1024),         -- documents
    ('evaluate.least', 48);           -- documents between evaluations at a change of domain

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

CREATE VIEW decide_anchor (reason, evidence) AS
SELECT 'surprise: recent documents cost more than those before',
    json_object('recent', l.recent, 'before', l.before, 'step', n.step)
FROM policy_now AS n JOIN policy_level AS l
WHERE l.n_recent >= (SELECT value FROM policy_settings WHERE key = 'surprise.recent')
    AND l.n_before >= l.n_recent
    AND l.recent > l.before * (1 + (SELECT value FROM policy_settings WHERE key = 'surprise.margin'))
    AND n.step - coalesce((SELECT max(step) FROM v1_decisions WHERE kind = 'anchor'), 0)
        >= (SELECT value FROM policy_settings WHERE key = 'anchor.cooldown_steps');

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
