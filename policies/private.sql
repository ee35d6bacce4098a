-- private: old text is never trained on again; an average of the weights and anchors hold on to it.
--
-- No replay: a document leaves no more than its effect on the weights and on what is kept about them (how
-- long its text is kept for recovery is another matter: see prune).  Scores come from a running average
-- of the weights over the newest seventh of all steps, which forgets more slowly than the weights do and
-- learns more slowly too.  Beside it, where the stream moves on, every weight is pulled to where it stood
-- by how important it was, as ewc does, at less than half the strength: average.share and anchor.ewc trade
-- learning for keeping (docs/lifelong.md).  It evaluates when lifelong does.

CREATE VIEW policy_settings (key, value) AS VALUES
    ('replay.share', 0.0),
    ('average.window', 100000),      -- steps, at most
    ('average.share', 0.15),         -- of all steps so far, at most
    ('anchor.ewc', 2),                -- strength; 1: as weight decay of 1 would pull, for mean importance
    ('anchor.decay', 0.9),            -- share of earlier importance that an anchor keeps
    ('anchor.cooldown_steps', 200),
    ('surprise.recent', 8),           -- documents
    ('surprise.before', 32),          -- documents
    ('surprise.margin', 0.10),        -- share of the level before
    ('evaluate.every', 1024),        -- documents
    ('evaluate.least', 48),           -- documents between evaluations at a change of domain
    ('evaluate.unseen', 48),         -- documents before a shift that are of other domains
    ('evaluate.after.1', 4),         -- documents after a shift, growth or rollback; 0: never
    ('evaluate.after.2', 16),
    ('evaluate.after.3', 48),
    ('alarm.margin', 0.25),          -- share by which a probe is worse than the best of 8 evaluations
    ('alarm.every', 256);             -- documents between alarms

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
    AND n.step - coalesce((SELECT step FROM v1_decisions WHERE kind = 'anchor'
                           ORDER BY decision DESC LIMIT 1), 0)
        >= (SELECT value FROM policy_settings WHERE key = 'anchor.cooldown_steps');

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
