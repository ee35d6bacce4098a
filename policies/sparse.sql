-- sparse: a step moves only the experts that its text uses and other text does not.
--
-- Of the experts that a batch picks, the gate.experts first by TF-IDF of their picks (often in this batch,
-- rarely in earlier steps) may move, the others stay as they are: Lin et al. 2025, arXiv 2510.15103; see
-- src/model/peer_gate.c.  The trunk is not gated.  No old text is trained on again.

CREATE VIEW policy_settings (key, value) AS VALUES
    ('gate.experts', 1024),           -- a pool and step
    ('evaluate.every', 1024),         -- documents
    ('evaluate.least', 48);           -- documents between evaluations at a change of domain

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
