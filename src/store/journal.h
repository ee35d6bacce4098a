/* journal.h - the one total order: documents, settings, policies, requests, rollbacks.
 *
 * A row's position is its place in the order; a document's id is the position of its row.  What the
 * trainer does is a function of the journal alone.  The trainer walks it with a cursor:
 *
 *     cam_journal_read(db, cursor, ...) -> items in order: documents to train on, control rows
 *
 * Admission (what happens when a document arrives), all in the transaction that journals it:
 *
 *     entry of a feed whose page was asked for before    -> not journalled, counted (duplicate)
 *     text that was forgotten                            -> not journalled, counted (forgotten)
 *     same text as a document journalled before          -> not journalled, counted (duplicate)
 *     same text as a probe, from elsewhere               -> not journalled, probe notes it
 *     shorter than 16 bytes / longer than document.max_bytes / one unit repeated / repetitive as a
 *     whole / mostly bytes that were no text             -> journalled, quarantined with reason
 *     SimHash within document.near_bits of a document admitted before, from anywhere, that is no
 *     earlier version of the same entry                  -> journalled, quarantined, `near` names
 * it the feed would have more than feed.max_share of what was admitted lately
 *                                                        -> journalled, quarantined with reason
 *     first document of its domain                       -> journalled, train
 *     keyed hash of the text falls in probe.share, room in the domain's probe
 *                                                        -> journalled, held_out (a probe text)
 *     same guid in the same feed, other text             -> journalled, `revises` names the old one
 *     else                                               -> journalled, train */
#ifndef CAM_STORE_JOURNAL_H
#define CAM_STORE_JOURNAL_H

#include "base/settings.h"
#include "base/status.h"
#include "flow.h"
#include "store/database.h"

#include <stddef.h>
#include <stdint.h>

#define CAM_MIN_DOCUMENT_BYTES 16
#define CAM_DOMAIN_BYTES       128 /* longest domain name with its NUL; longer ones are cut */

/* ---- documents in ------------------------------------------------------------------------- */

struct cam_admission_counts {
    int64_t seen, journalled, duplicates, revisions, quarantined, held_out, contaminations,
        rejected;
    int64_t forgotten; /* refused: their text was forgotten (store/forget.h) */
};

/* What a poll leaves behind for the next one; any text may be NULL. */
struct cam_poll {
    const char *etag, *last_modified;
    int http_status;         /* 0: none (file, connection failed) */
    const char *error;       /* one sentence, NULL when the poll went well */
    int64_t next_poll_at_ms; /* Unix milliseconds */
    int64_t n_bytes;
    const char *moved_url; /* permanent address from now on, without credentials; NULL: as it was */
    int64_t host_not_before_ms; /* no feed of its host is due before; 0: nothing was asked */
    int keep_hints;             /* the three below are not known: what is stored stays */
    int64_t ttl_s;
    uint32_t skip_hours, skip_days; /* bits, as struct cam_feed_hints */
};

/* Collects documents and journals them in few transactions, in the order given.  Use its sink with
 * a reader of feed/.  Not shared between threads. */
struct cam_journal_writer;

/* FEED: id from cam_feeds_add, or 0 for `ingest`; SOURCE names where they came from (URL or file
 * name; also the domain of documents that name none, unless the feed has a name). */
CAM_MUST_USE enum cam_status cam_journal_writer_open(struct cam_database *database, int64_t feed,
                                                     const char *source,
                                                     struct cam_journal_writer **writer);
struct cam_document_sink cam_journal_writer_sink(struct cam_journal_writer *writer);
/* Journals what is pending and then, in the same transaction, POLL (may be NULL).  On failure the
 * documents of the last transaction are not journalled and the validators stay as they were, so the
 * next poll brings them again.  COUNTS may be NULL. */
CAM_MUST_USE enum cam_status cam_journal_writer_finish(struct cam_journal_writer *writer,
                                                       const struct cam_poll *poll,
                                                       struct cam_admission_counts *counts);
/* Journals what is pending now, without ending the poll: whoever waits for room must not keep
 * documents to himself. */
CAM_MUST_USE enum cam_status cam_journal_writer_flush(struct cam_journal_writer *writer);
void cam_journal_writer_free(struct cam_journal_writer *writer); /* drops what was not finished */

/* What is journalled and waits for training, against the bounds of the settings (v1_inbox). */
struct cam_inbox {
    int64_t documents, bytes;
    int64_t max_documents, max_bytes;
    int64_t room_documents, room_bytes; /* > 0 unless it is full */
    int is_full;                        /* and what waits surely fills a batch */
};
CAM_MUST_USE enum cam_status cam_journal_inbox(struct cam_database *database,
                                               struct cam_inbox *inbox);

/* `init --probe FILE`: TEXT becomes a held-out document and a probe called NAME.  If the same text
 * was journalled for training before, the probe is marked contaminated. */
CAM_MUST_USE enum cam_status cam_journal_probe(struct cam_database *database, const char *name,
                                               const char *text, size_t n_bytes);

/* ---- control rows ------------------------------------------------------------------------- */

enum cam_item_kind {
    CAM_ITEM_DOCUMENT, /* train on it as new */
    CAM_ITEM_SETTING,  /* name = key, value */
    CAM_ITEM_POLICY,   /* name = policy, value = its hash */
    CAM_ITEM_EVALUATE,
    CAM_ITEM_SNAPSHOT, /* name = tag or "" */
    CAM_ITEM_FLUSH,    /* train the tail below one batch */
    CAM_ITEM_GROW,     /* asked for by a person; value = JSON */
    CAM_ITEM_FREEZE,
    CAM_ITEM_PRUNE,
    CAM_ITEM_VERIFY,
    CAM_ITEM_FORGET, /* where a forget (store/forget.h) stands: all before it has been done again */
};

/* Journals a request; *POSITION (may be NULL) is its row.  A SETTING is checked first
 * (CAM_ERR_CONFIG); those of scope NOW are in force when this returns, LIVE ones when the trainer
 * calls cam_history_control_done, INIT ones are refused.  Use cam_policy_use for policies.
 * REASON: who asked and why ("person", "schedule 3", ...). */
CAM_MUST_USE enum cam_status cam_journal_control(struct cam_database *database,
                                                 enum cam_item_kind kind, const char *name,
                                                 const char *value, const char *reason,
                                                 int64_t *position);

/* Takes a quarantined or set-aside document back into training (it is trained at the new row's
 * position), or drops a quarantined one for good (it counts as set aside). */
CAM_MUST_USE enum cam_status cam_journal_release(struct cam_database *database, int64_t document,
                                                 const char *reason);
CAM_MUST_USE enum cam_status cam_journal_drop(struct cam_database *database, int64_t document,
                                              const char *reason);

/* ---- reading, for the trainer -------------------------------------------------------------- */

struct cam_item {
    int64_t position;
    enum cam_item_kind kind;
    int64_t document; /* id, for CAM_ITEM_DOCUMENT (differs from position when released) */
    char *text;       /* owned by the list; NUL-terminated */
    size_t text_bytes;
    char domain[CAM_DOMAIN_BYTES];
    int64_t feed;
    char *name, *value; /* control rows; owned by the list, "" if absent */
};
struct cam_items {
    struct cam_item *items;
    size_t n_items;
    int64_t end; /* all rows up to here were looked at: the cursor may move here when done */
    int at_end;  /* nothing is journalled past `end` now */
};

/* The next items after position AFTER, at most MAX_ITEMS and about MAX_BYTES of text (at least one
 * item if there is one).  Skips rows that are not to be trained on or acted on in the living
 * lineage: held out, quarantined, set aside, trained already, control rows from before a rollback.
 * Release ITEMS with cam_items_release; it is overwritten here, not freed. */
CAM_MUST_USE enum cam_status cam_journal_read(struct cam_database *database, int64_t after,
                                              size_t max_items, size_t max_bytes,
                                              struct cam_items *items);
void cam_items_release(struct cam_items *items);

/* Text of one document, whatever its state (caller frees).  CAM_ERR_NOINPUT: no such document.
 * CAM_ERR_DATA: its text does not match its hash. */
CAM_MUST_USE enum cam_status cam_journal_text(struct cam_database *database, int64_t document,
                                              char **text, size_t *n_bytes);

/* Probe texts: FN is called for each document of each probe, by probe and then id.  TEXT is
 * borrowed for the call. */
struct cam_probe_text {
    int64_t probe; /* dense from 1, in order of first appearance */
    const char *name;
    int64_t document;
    const char *text;
    size_t text_bytes;
};
typedef enum cam_status cam_probe_text_fn(void *context, const struct cam_probe_text *text);
/* Probe documents with an id of at most UP_TO, so an evaluation at a cursor is a function of the
 * journal up to that cursor. */
CAM_MUST_USE enum cam_status cam_journal_probes(struct cam_database *database, int64_t up_to,
                                                cam_probe_text_fn *fn, void *context);

/* Settings in force: the trainer's view (LIVE as of the living history, NOW as of the journal). */
CAM_MUST_USE enum cam_status cam_journal_settings(struct cam_database *database,
                                                  struct cam_settings *settings);

/* ---- feeds --------------------------------------------------------------------------------- */

struct cam_feed {
    int64_t feed;
    char *url;           /* without credentials */
    char *credentials;   /* "user:password" as it stood in the URL, or NULL; for fetching alone */
    char *host;          /* of the URL, lower case, without port */
    char *name, *format; /* all texts are owned by the list; name and format may be "" */
    char *etag, *last_modified;
    char *ca_file; /* or NULL */
    int64_t interval_s;
    int64_t next_poll_at_ms;
    int64_t n_failures; /* since the last good poll */
    int gone;           /* 410: not polled again */
    int fulltext;       /* 1, 0; -1: as the setting feed.fulltext says */
    int64_t ttl_s;      /* what the feed asks for, see struct cam_poll */
    uint32_t skip_hours, skip_days;
};
struct cam_feeds {
    struct cam_feed *feeds;
    size_t n_feeds;
};

/* Journals the feed.  Credentials in URL ("https://user:password@host/") are stored apart, and a
 * feed is known by its URL without them.  Adding one that is there already updates its name,
 * interval and credentials, as far as they are given.  NAME and FORMAT may be NULL.  *FEED may be
 * NULL. */
CAM_MUST_USE enum cam_status cam_feeds_add(struct cam_database *database, const char *url,
                                           const char *name, const char *format, int64_t interval_s,
                                           int64_t *feed);
/* The feed with that URL, credentials aside; *FEED is 0 if there is none. */
CAM_MUST_USE enum cam_status cam_feeds_find(struct cam_database *database, const char *url,
                                            int64_t *feed);
/* PEM file whose certificates FEED is checked with, instead of the system's; NULL: the system's. */
CAM_MUST_USE enum cam_status cam_feeds_set_ca(struct cam_database *database, int64_t feed,
                                              const char *ca_file);
/* Whether the pages of FEED's entries are asked for: 1, 0, or -1, as the setting feed.fulltext
 * says.
 */
CAM_MUST_USE enum cam_status cam_feeds_set_fulltext(struct cam_database *database, int64_t feed,
                                                    int fulltext);
/* Whether the page of an entry of FEED was asked for before (struct cam_page_outcome). */
CAM_MUST_USE enum cam_status cam_feeds_know_entry(struct cam_database *database, int64_t feed,
                                                  const char *entry, int *known);
CAM_MUST_USE enum cam_status cam_feeds_remove(struct cam_database *database, const char *url);
/* Feeds that are not removed, by id.  Release with cam_feeds_release. */
CAM_MUST_USE enum cam_status cam_feeds_list(struct cam_database *database, struct cam_feeds *feeds);
CAM_MUST_USE enum cam_status cam_feeds_get(struct cam_database *database, int64_t feed,
                                           struct cam_feeds *feeds);
/* The feeds that are due at NOW_MS, one a host (the one that waits longest), at most MOST, longest
 * waiting first; hosts that asked to be left alone are not among them. */
CAM_MUST_USE enum cam_status cam_feeds_due(struct cam_database *database, int64_t now_ms,
                                           size_t most, struct cam_feeds *feeds);
/* After the clock was set back: what lies further ahead of NOW_MS than any poll is ever put off is
 * due at once. */
CAM_MUST_USE enum cam_status cam_feeds_mend_clock(struct cam_database *database, int64_t now_ms);
void cam_feeds_release(struct cam_feeds *feeds);
void cam_feed_release(struct cam_feed *feed); /* of one taken out of a list */

#endif
