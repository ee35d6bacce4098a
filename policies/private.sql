-- private: old text is never trained on again; the average of the weights alone holds on to it.
--
-- No replay: a document leaves no more than its effect on the weights (how long its text is kept for
-- recovery is another matter: see prune).  Scores come from a running average of the weights over the
-- newest fifth of all steps, which forgets more slowly than the weights do and learns more slowly too:
-- average.share trades one for the other.  It evaluates when lifelong does.

CREATE VIEW policy_settings (key, value) AS VALUES
    ('replay.share', 0.0),
    ('average.window', 100000),      -- steps, at most
    ('average.share', 0.20),         -- of all steps so far, at most
    ('evaluate.every', 1024),        -- documents
    ('evaluate.least', 48);          -- documents between evaluations at a change of domain

CREATE VIEW policy_now (documents, step, domain) AS
SELECT trained_rank, last_step, domain FROM v1_trained ORDER BY trained_rank DESC LIMIT 1;

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
