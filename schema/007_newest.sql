-- 007_newest: what is asked at every step finds the newest rows without a walk through all of them.

CREATE INDEX decisions_newest ON decisions (kind, decision);
CREATE INDEX decisions_by_number ON decisions (decision);
CREATE INDEX generation_states_newest ON generation_states (generation);
