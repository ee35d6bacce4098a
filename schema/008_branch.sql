-- 008_branch: a lineage that a forget opened counts, for policies, as the one it goes on from: a run that
-- never saw the documents would know of no other.

ALTER TABLE lineages ADD COLUMN branch INTEGER; -- NULL: its own number
