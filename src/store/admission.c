/* admission.c - documents into the journal: duplicates, revisions, quarantine, the probe draw.
 * The rules are in journal.h; all of them run in the transaction that journals the document. */
#include "store/journal.h"

#include "base/hash.h"
#include "base/log.h"
#include "store/admission_internal.h"
#include "store/rows.h"
#include "store/simhash.h"
#include "store/sql.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#define BATCH_DOCUMENTS 1024 /* of a transaction: some 50 ms that the trainer may wait */
#define BATCH_BYTES     (8u << 20)
#define DISPLAY_BYTES   512  /* longest display twin of a title, author or URL */
#define FIELD_BYTES     8192 /* longest guid, URL, title or author kept; longer ones are cut */
#define ZSTD_LEVEL      1    /* at 3 short texts were 1 % smaller and took half as long again */
#define MAX_PERIOD      64
#define MIN_REPEATS     8
#define REJECTED_EVENTS 20 /* per writer: one bad feed must not fill the event table */
/* Prose shrinks to about a third, logs and tables to a tenth; past this the text says one thing
 * over and over.  Short texts shrink too little to tell. */
#define REPETITIVE_BYTES 2048
#define REPETITIVE_RATIO 50
/* One invalid run in so many characters is no text of the encoding it was read in. */
#define BINARY_ONE_IN 10
#define BINARY_LEAST  4

struct pending {
    char *guid, *url, *title, *author, *published, *updated, *language, *domain; /* owned or NULL */
    char *text_hash;                                                             /* hexadecimal */
    void *blob; /* zstd of the text */
    size_t blob_bytes, text_bytes, n_replaced;
    struct cam_hash draw; /* keyed by the seed when the transaction runs */
    char *text;           /* kept until the draw; freed with the batch */
    uint64_t simhash;
    size_t n_features; /* of the hash; too few: it means nothing */
    char reason[128];  /* "" or why it is quarantined */
    struct cam_page_outcome
        page; /* entry and problem owned; entry NULL: none was to be asked for */
};

struct cam_journal_writer {
    struct cam_database *database;
    int64_t feed;
    char *source, *feed_name; /* display forms */
    struct pending pending[BATCH_DOCUMENTS];
    size_t n_pending, pending_bytes;
    struct cam_admission_counts counts;
    const struct cam_poll *poll; /* borrowed while the last transaction runs */
    int finishing;
    ZSTD_CCtx *zstd;        /* setting one up costs more than compressing a short text */
    const char *probe_name; /* not NULL: the one document is the text of a file probe */
};

static void release_pending(struct pending *p) {
    free(p->guid), free(p->url), free(p->title), free(p->author), free(p->published);
    free(p->updated), free(p->language), free(p->domain), free(p->text_hash), free(p->blob);
    free(p->text), free((char *)(uintptr_t)p->page.entry);
    free((char *)(uintptr_t)p->page.problem);
    memset(p, 0, sizeof *p);
}

static void drop_pending(struct cam_journal_writer *writer) {
    for (size_t i = 0; i < writer->n_pending; i++)
        release_pending(&writer->pending[i]);
    writer->n_pending = writer->pending_bytes = 0;
}

/* Copy of S cut to FIELD_BYTES at a character boundary; NULL stays NULL. */
static char *copy_field(const char *s) {
    if (!s)
        return NULL;
    size_t n = strlen(s);
    if (n > FIELD_BYTES) {
        n = FIELD_BYTES;
        while (n > 0 && ((unsigned char)s[n] & 0xC0) == 0x80)
            n--;
    }
    return strndup(s, n);
}

static char *display(const char *s, char out[DISPLAY_BYTES]) {
    return s ? cam_neutral_text(s, out, DISPLAY_BYTES) : NULL;
}

/* The smallest unit of up to MAX_PERIOD bytes whose repetition is the whole text, or 0.  memcmp
 * stops at the first difference, so ordinary text costs a few bytes a period. */
static size_t period_of(const char *text, size_t n) {
    for (size_t p = 1; p <= MAX_PERIOD && p * MIN_REPEATS <= n; p++)
        if (memcmp(text, text + p, n - p) == 0)
            return p;
    return 0;
}

static int only_space(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (text[i] != ' ' && text[i] != '\n' && text[i] != '\t' && text[i] != '\r')
            return 0;
    return 1;
}

/* Rules that look at the text alone, blob_bytes being what it compresses to; the size limit is a
 * setting and comes later. */
static void judge_text(struct pending *p) {
    size_t n = p->text_bytes, period;
    size_t characters = n > 2 * p->n_replaced ? n - 2 * p->n_replaced : n; /* U+FFFD has 3 bytes */
    if (n == 0 || only_space(p->text, n))
        snprintf(p->reason, sizeof p->reason, "empty");
    else if (n < CAM_MIN_DOCUMENT_BYTES)
        snprintf(p->reason, sizeof p->reason, "too short: %zu bytes, at least %d needed", n,
                 CAM_MIN_DOCUMENT_BYTES);
    else if (p->n_replaced >= BINARY_LEAST && p->n_replaced * BINARY_ONE_IN > characters)
        snprintf(p->reason, sizeof p->reason, "binary: %zu runs of bytes in it were no text",
                 p->n_replaced);
    else if ((period = period_of(p->text, n)) > 0)
        snprintf(p->reason, sizeof p->reason, "one unit of %zu bytes repeated %zu times", period,
                 n / period);
    else if (n >= REPETITIVE_BYTES && p->blob_bytes * REPETITIVE_RATIO < n)
        snprintf(p->reason, sizeof p->reason, "repetitive: %zu bytes say what %zu could", n,
                 p->blob_bytes);
}

/* NULL stays NULL; *LOST is set if there is no memory. */
static char *copy_text(const char *s, int *lost) {
    char *copy = s ? strdup(s) : NULL;
    *lost |= s && !copy;
    return copy;
}

static void take_page(struct pending *p, const struct cam_page_outcome *page, int *lost) {
    if (!page)
        return;
    p->page = *page;
    p->page.entry = copy_text(page->entry, lost);
    p->page.problem = copy_text(page->problem, lost);
}

static enum cam_status take_document(struct pending *p, ZSTD_CCtx *zstd,
                                     const struct cam_document *d) {
    char hex[CAM_HASH_HEX_BYTES];
    int lost = 0;
    memset(p, 0, sizeof *p);
    take_page(p, d->page, &lost);
    const char *text = d->text ? d->text : "";
    p->text_bytes = d->text ? d->text_bytes : 0;
    p->n_replaced = d->n_replaced;
    cam_hash_hex(cam_hash_bytes(text, p->text_bytes), hex);
    p->simhash = cam_simhash(text, p->text_bytes, &p->n_features);
    size_t bound = ZSTD_compressBound(p->text_bytes);
    p->guid = copy_field(d->id && *d->id ? d->id : NULL);
    p->url = copy_field(d->url), p->title = copy_field(d->title);
    p->author = copy_field(d->author), p->published = copy_field(d->published);
    p->updated = copy_field(d->updated), p->language = copy_field(d->language);
    p->domain = copy_field(d->domain && *d->domain ? d->domain : NULL);
    p->text_hash = strdup(hex);
    p->blob = malloc(bound);
    p->text = malloc(p->text_bytes + 1);
    if (!p->text_hash || !p->blob || !p->text || lost) {
        release_pending(p);
        return cam_fail(CAM_ERR_OS, "no memory for a document of %zu bytes", d->text_bytes);
    }
    memcpy(p->text, text, p->text_bytes);
    p->text[p->text_bytes] = '\0';
    p->blob_bytes = ZSTD_compressCCtx(zstd, p->blob, bound, text, p->text_bytes, ZSTD_LEVEL);
    if (ZSTD_isError(p->blob_bytes)) {
        release_pending(p);
        return cam_fail(CAM_ERR_OS, "cannot compress a document of %zu bytes", d->text_bytes);
    }
    judge_text(p);
    return CAM_OK;
}

/* ---- inside the transaction ---------------------------------------------------------------------
 */

struct admit {
    sqlite3 *sqlite;
    struct cam_journal_writer *writer;
    int64_t before; /* documents with a lower number are there; the others are still to come */
    struct cam_settings settings;
    struct cam_admission_counts counts; /* of this transaction */
    struct cam_share share;             /* of the feed; loaded when it is first needed */
};

struct verdict {
    const char *admission;
    const char *reason;
    int64_t probe, revises, near;
};

/* Same text journalled before: 1 and counted, else 0. */
static enum cam_status known_text(struct admit *a, const struct pending *p, int *known) {
    sqlite3_stmt *s = NULL;
    int row = 0;
    int64_t any = 0;
    const struct cam_journal_writer *w = a->writer;
    CAM_TRY(cam_sql_int(a->sqlite, 0, &any,
                        "SELECT 1 FROM documents WHERE content_hash = ? LIMIT 1", "t",
                        p->text_hash));
    if (!any)
        return CAM_OK;
    CAM_TRY(cam_sql_take(a->sqlite, &s,
                         "SELECT document, admission, (source = ?2 OR feed = ?4) AND"
                         " (?3 IS NULL OR guid IS ?3) FROM documents WHERE content_hash = ?1 ORDER"
                         " BY admission = 'held_out' DESC, document LIMIT 1",
                         "ttti", p->text_hash, w->source, p->guid, w->feed ? w->feed : -1));
    enum cam_status status = cam_sql_step(s, &row);
    if (status == CAM_OK && row) {
        int64_t document = sqlite3_column_int64(s, 0);
        int is_probe = strcmp(cam_sql_text(s, 1), "held_out") == 0;
        if (is_probe && !sqlite3_column_int(s, 2)) {
            a->counts.contaminations++;
            status = cam_sql_run(a->sqlite, "INSERT OR IGNORE INTO probe_refusals VALUES (?, ?, ?)",
                                 "itt", document, w->source, p->guid ? p->guid : "");
        } else {
            a->counts.duplicates++;
        }
        *known = 1;
    }
    cam_sql_done(s);
    return status;
}

static void domain_of(const struct cam_journal_writer *w, const struct pending *p,
                      char out[CAM_DOMAIN_BYTES]) {
    const char *name = p->domain ? p->domain : w->feed_name ? w->feed_name : w->source;
    cam_neutral_text(name, out, CAM_DOMAIN_BYTES);
    if (!*out)
        snprintf(out, CAM_DOMAIN_BYTES, "unnamed");
}

/* The probe of NAME, made if need be. */
static enum cam_status probe_of(sqlite3 *sqlite, const char *kind, const char *name,
                                int64_t *probe) {
    CAM_TRY(cam_sql_run(sqlite,
                        "INSERT INTO probes (kind, name) VALUES (?, ?) ON CONFLICT DO NOTHING",
                        "tt", kind, name));
    return cam_sql_int(sqlite, 0, probe, "SELECT probe FROM probes WHERE kind = ? AND name = ?",
                       "tt", kind, name);
}

static enum cam_status probe_room(struct admit *a, const struct pending *p, const char *domain,
                                  int *room) {
    int64_t used = 0;
    CAM_TRY(cam_sql_int(a->sqlite, 0, &used,
                        "SELECT sum(d.bytes) FROM probes AS p JOIN documents AS d ON d.probe = "
                        "p.probe WHERE p.kind = 'domain' AND p.name = ? AND d.document < ?",
                        "ti", domain, a->before));
    *room = used + (int64_t)p->text_bytes <= a->settings.probe_max_bytes;
    return CAM_OK;
}

/* The document that this one is a new version of: same feed (or source) and guid. */
static enum cam_status find_revised(struct admit *a, const struct pending *p, int64_t *revises,
                                    int *of_probe) {
    const struct cam_journal_writer *w = a->writer;
    *revises = 0;
    if (!p->guid)
        return CAM_OK;
    CAM_TRY(cam_sql_int(a->sqlite, 0, revises,
                        "SELECT document FROM documents WHERE feed IS nullif(?1, 0) AND guid = ?2"
                        " AND (?1 <> 0 OR source = ?3) AND document < ?4 ORDER BY document DESC"
                        " LIMIT 1",
                        "itti", w->feed, p->guid, w->source, a->before));
    int64_t held = 0;
    if (!*revises)
        return CAM_OK;
    CAM_TRY(cam_sql_int(a->sqlite, 0, &held,
                        "SELECT 1 FROM documents WHERE feed IS nullif(?1, 0) AND guid = ?2 AND (?1"
                        " <> 0 OR source = ?3) AND admission = 'held_out' AND document < ?4",
                        "itti", w->feed, p->guid, w->source, a->before));
    *of_probe = held != 0;
    return CAM_OK;
}

/* Does the keyed hash of the text fall into the share?  Outsiders who do not know the seed cannot
 * aim a text at the probes. */
static int drawn(const struct admit *a, const struct pending *p) {
    struct cam_hash h = cam_hash_keyed(p->text, p->text_bytes, (uint64_t)a->settings.seed);
    return ldexp((double)(h.high >> 11), -53) < a->settings.probe_share;
}

/* Says nearly what a document says that was admitted before, from anywhere. */
static enum cam_status judge_near(struct admit *a, struct pending *p, struct verdict *v) {
    struct cam_near_match match = {0};
    struct cam_near_entry entry = {a->writer->feed, a->writer->source, p->guid};
    int bits = (int)a->settings.document_near_bits;
    if (*p->reason || bits < 0 || p->n_features < CAM_SIMHASH_MIN_FEATURES)
        return CAM_OK;
    CAM_TRY(cam_near_find(a->sqlite, p->simhash, bits, &entry, a->before, &match));
    if (!match.document)
        return CAM_OK;
    v->near = match.document;
    snprintf(p->reason, sizeof p->reason, "near duplicate of document %lld: %d of 64 bits differ",
             (long long)match.document, match.distance);
    return CAM_OK;
}

/* Would give its feed more than it may have. */
static enum cam_status judge_share(struct admit *a, struct pending *p) {
    double most = a->settings.feed_max_share;
    if (*p->reason || !a->writer->feed || most >= 1)
        return CAM_OK;
    if (!a->share.bytes)
        CAM_TRY(cam_share_load(a->sqlite, a->writer->feed, a->settings.feed_share_window, a->before,
                               &a->share));
    double share = cam_share_with(&a->share, (int64_t)p->text_bytes);
    if (share > most)
        snprintf(
            p->reason, sizeof p->reason,
            "over quota: the feed would have %.1f %% of the last %lld documents, feed.max_share"
            " is %g",
            100 * share, (long long)a->settings.feed_share_window, most);
    return CAM_OK;
}

static enum cam_status judge(struct admit *a, struct pending *p, const char *domain,
                             struct verdict *v) {
    int of_probe = 0, room = 0;
    int64_t known_domain = 0;
    *v = (struct verdict){.admission = "train"};
    if (a->writer->probe_name) {
        v->admission = "held_out";
        return probe_of(a->sqlite, "file", a->writer->probe_name, &v->probe);
    }
    CAM_TRY(find_revised(a, p, &v->revises, &of_probe));
    if (!*p->reason && (int64_t)p->text_bytes > a->settings.document_max_bytes)
        snprintf(p->reason, sizeof p->reason, "too long: %zu bytes, document.max_bytes is %lld",
                 p->text_bytes, (long long)a->settings.document_max_bytes);
    CAM_TRY(judge_near(a, p, v));
    CAM_TRY(judge_share(a, p));
    if (*p->reason) {
        v->admission = "quarantined";
        v->reason = p->reason;
        return CAM_OK;
    }
    if (!of_probe && (v->revises || !drawn(a, p)))
        return CAM_OK;
    CAM_TRY(probe_room(a, p, domain, &room));
    CAM_TRY(cam_sql_int(a->sqlite, 0, &known_domain,
                        "SELECT 1 FROM documents WHERE domain = ? AND admission = 'train' AND"
                        " document < ? LIMIT 1",
                        "ti", domain, a->before));
    if (of_probe && !room) {
        v->admission = "quarantined";
        v->reason = "a new version of a probe's text";
    } else if (of_probe || (known_domain && room)) {
        v->admission = "held_out";
        return probe_of(a->sqlite, "domain", domain, &v->probe);
    }
    return CAM_OK;
}

static enum cam_status insert_document(struct admit *a, const struct pending *p, const char *domain,
                                       const struct verdict *v, int64_t *position) {
    char title[DISPLAY_BYTES], author[DISPLAY_BYTES], url[DISPLAY_BYTES];
    const struct cam_journal_writer *w = a->writer;
    CAM_TRY(cam_rows_journal(a->sqlite, "document", 0, "", "", w->source, position));
    CAM_TRY(cam_sql_run(
        a->sqlite,
        "INSERT INTO documents (document, feed, source, guid, url, title, author, published,"
        " updated, language, title_display, author_display, url_display, domain, content_hash,"
        " bytes, replaced, admission, reason, probe, revises, near) VALUES (?, nullif(?, 0), ?, ?,"
        " ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, nullif(?, 0), nullif(?, 0), nullif(?, 0))",
        "iittttttttttttt"
        "iittiii",
        *position, w->feed, w->source, p->guid, p->url, p->title, p->author, p->published,
        p->updated, p->language, display(p->title, title), display(p->author, author),
        display(p->url, url), domain, p->text_hash, (int64_t)p->text_bytes, (int64_t)p->n_replaced,
        v->admission, v->reason, v->probe, v->revises, v->near));
    CAM_TRY(cam_sql_run(a->sqlite, "INSERT INTO document_texts VALUES (?, ?)", "ib", *position,
                        (const void *)p->blob, p->blob_bytes));
    int is_quarantined = strcmp(v->admission, "quarantined") == 0;
    if (!is_quarantined && p->n_features >= CAM_SIMHASH_MIN_FEATURES)
        CAM_TRY(cam_near_add(a->sqlite, *position, p->simhash));
    if (a->share.bytes && strcmp(v->admission, "train") == 0)
        cam_share_add(&a->share, (int64_t)p->text_bytes);
    a->counts.journalled++;
    a->counts.revisions += v->revises != 0;
    a->counts.quarantined += is_quarantined;
    a->counts.held_out += strcmp(v->admission, "held_out") == 0;
    return CAM_OK;
}

static enum cam_status admit_one(struct admit *a, struct pending *p) {
    char domain[CAM_DOMAIN_BYTES];
    struct verdict verdict;
    int known = 0, refused = 0;
    int64_t feed = a->writer->feed, position;
    if (p->page.entry)
        CAM_TRY(cam_entry_page_find(a->sqlite, feed, p->page.entry, &known));
    a->counts.duplicates += known;
    if (known)
        return CAM_OK;
    CAM_TRY(cam_forget_refuses(a->sqlite, p->text, p->text_bytes, &refused));
    a->counts.forgotten += refused;
    if (!refused && !a->writer->probe_name)
        CAM_TRY(known_text(a, p, &known));
    if (refused || known)
        return p->page.was_asked ? cam_entry_page_add(a->sqlite, feed, 0, &p->page) : CAM_OK;
    domain_of(a->writer, p, domain);
    CAM_TRY(judge(a, p, domain, &verdict));
    CAM_TRY(insert_document(a, p, domain, &verdict, &position));
    return p->page.was_asked ? cam_entry_page_add(a->sqlite, feed, position, &p->page) : CAM_OK;
}

static enum cam_status write_batch(sqlite3 *sqlite, void *context) {
    struct admit *a = context;
    struct cam_journal_writer *w = a->writer;
    a->sqlite = sqlite;
    a->before = INT64_MAX;
    CAM_TRY(cam_rows_settings(sqlite, &a->settings));
    for (size_t i = 0; i < w->n_pending; i++)
        CAM_TRY(admit_one(a, &w->pending[i]));
    if (w->feed && a->counts.duplicates)
        CAM_TRY(cam_sql_run(sqlite, "UPDATE feeds SET duplicates = duplicates + ? WHERE feed = ?",
                            "ii", a->counts.duplicates, w->feed));
    if (w->finishing && w->feed && w->counts.rejected)
        CAM_TRY(cam_sql_run(sqlite, "UPDATE feeds SET rejected = rejected + ? WHERE feed = ?", "ii",
                            w->counts.rejected, w->feed));
    if (w->finishing && !w->feed && w->counts.duplicates + a->counts.duplicates > 0) {
        char message[DISPLAY_BYTES + 64];
        snprintf(message, sizeof message, "%.400s: %lld documents were journalled before",
                 w->source, (long long)(w->counts.duplicates + a->counts.duplicates));
        CAM_TRY(cam_rows_event(sqlite, "info", "duplicates", message, NULL));
    }
    return w->finishing && w->feed && w->poll ? cam_feeds_store_poll(sqlite, w->feed, w->poll)
                                              : CAM_OK;
}

static enum cam_status flush(struct cam_journal_writer *w) {
    struct admit *a = calloc(1, sizeof *a);
    if (!a)
        return cam_fail(CAM_ERR_OS, "no memory to journal documents");
    a->writer = w;
    enum cam_status status = cam_database_write_durable(w->database, write_batch, a);
    if (status == CAM_OK) {
        w->counts.journalled += a->counts.journalled;
        w->counts.duplicates += a->counts.duplicates;
        w->counts.revisions += a->counts.revisions;
        w->counts.quarantined += a->counts.quarantined;
        w->counts.held_out += a->counts.held_out;
        w->counts.contaminations += a->counts.contaminations;
        w->counts.forgotten += a->counts.forgotten;
    }
    drop_pending(w);
    cam_share_release(&a->share);
    free(a);
    return status;
}

/* ---- once more ---------------------------------------------------------------------------------
 */

/* Settings of admission take effect with their journal row, so those at a row are known. */
static enum cam_status settings_at(sqlite3 *sqlite, int64_t position,
                                   struct cam_settings *settings) {
    sqlite3_stmt *s = NULL;
    int row = 0;
    CAM_TRY(cam_rows_settings(sqlite, settings));
    CAM_TRY(cam_sql_query(
        sqlite, &s,
        "SELECT k.key, coalesce((SELECT j.value FROM journal AS j WHERE j.kind = 'setting' AND"
        " j.name = k.key AND j.position < ?1 ORDER BY j.position DESC LIMIT 1), (SELECT v.value "
        "FROM"
        " living_setting_values AS v WHERE v.key = k.key ORDER BY v.moment DESC LIMIT 1),"
        " k.default_value) FROM setting_keys AS k WHERE k.scope = 'now'",
        "i", position));
    enum cam_status status = cam_sql_step(s, &row);
    while (status == CAM_OK && row) {
        if (cam_settings_set(settings, cam_sql_text(s, 0), cam_sql_text(s, 1)) != CAM_OK)
            cam_log(CAM_LOG_WARNING, "stored setting ignored: %s", cam_message());
        status = cam_sql_step(s, &row);
    }
    sqlite3_finalize(s);
    return status;
}

struct again {
    struct admit admit;
    struct cam_journal_writer *writer; /* stands for who brought the document at hand */
    int64_t settings_to;               /* settings in force at rows up to here are known */
    struct cam_admission_review review;
};

static enum cam_status settings_again(struct again *x, int64_t document) {
    int64_t next = 0;
    if (document <= x->settings_to)
        return CAM_OK;
    CAM_TRY(settings_at(x->admit.sqlite, document, &x->admit.settings));
    cam_share_release(&x->admit.share);
    CAM_TRY(cam_sql_int(x->admit.sqlite, INT64_MAX, &next,
                        "SELECT min(position) FROM journal WHERE kind = 'setting' AND position > ?",
                        "i", document));
    x->settings_to = next;
    return CAM_OK;
}

/* Of the columns of again_sql.  Everything is owned by PENDING but the text's compressed form. */
static enum cam_status take_again(struct again *x, sqlite3_stmt *s, struct pending *p) {
    struct cam_journal_writer *w = x->writer;
    int64_t feed = sqlite3_column_int64(s, 1);
    if (feed != w->feed)
        cam_share_release(&x->admit.share);
    w->feed = feed;
    free(w->source);
    w->source = cam_sql_copy(s, 2);
    p->guid = sqlite3_column_type(s, 3) == SQLITE_NULL ? NULL : cam_sql_copy(s, 3);
    if (!w->source || (!p->guid && sqlite3_column_type(s, 3) != SQLITE_NULL))
        return cam_fail(CAM_ERR_OS, "no memory for a document");
    CAM_TRY(cam_rows_text(sqlite3_column_blob(s, 6), (size_t)sqlite3_column_bytes(s, 6),
                          x->admit.before, sqlite3_column_int64(s, 5), &p->text, &p->text_bytes));
    p->blob_bytes = (size_t)sqlite3_column_bytes(s, 6);
    p->n_replaced = (size_t)sqlite3_column_int64(s, 7);
    p->simhash = cam_simhash(p->text, p->text_bytes, &p->n_features);
    judge_text(p);
    return CAM_OK;
}

static enum cam_status judge_again(struct again *x, sqlite3_stmt *s, struct pending *p) {
    struct admit *a = &x->admit;
    struct verdict v;
    int64_t document = a->before;
    CAM_TRY(take_again(x, s, p));
    CAM_TRY(settings_again(x, document));
    CAM_TRY(judge(a, p, cam_sql_text(s, 4), &v));
    int was_held = strcmp(cam_sql_text(s, 8), "held_out") == 0;
    int is_held = strcmp(v.admission, "held_out") == 0;
    int trains = strcmp(v.admission, "train") == 0;
    if (strcmp(v.admission, cam_sql_text(s, 8)) != 0) {
        if (!x->review.first)
            x->review.first = document;
        x->review.n++;
    }
    if (was_held && !is_held)
        CAM_TRY(
            cam_sql_run(a->sqlite, "DELETE FROM probe_refusals WHERE document = ?", "i", document));
    CAM_TRY(cam_sql_run(a->sqlite,
                        "UPDATE documents SET admission = ?, reason = ?, probe = nullif(?, 0),"
                        " revises = nullif(?, 0), near = nullif(?, 0) WHERE document = ?",
                        "ttiiii", v.admission, v.reason, v.probe, v.revises, v.near, document));
    CAM_TRY(cam_sql_run(a->sqlite, "DELETE FROM simhash_bands WHERE document = ?", "i", document));
    if (a->share.bytes && trains)
        cam_share_add(&a->share, (int64_t)p->text_bytes);
    return (trains || is_held) && p->n_features >= CAM_SIMHASH_MIN_FEATURES
               ? cam_near_add(a->sqlite, document, p->simhash)
               : CAM_OK;
}

/* A probe is there from its first document on, and numbered in that order. */
static enum cam_status take_probes_back(sqlite3 *sqlite, int64_t after) {
    CAM_TRY(cam_sql_run(sqlite,
                        "UPDATE documents SET probe = NULL WHERE document > ? AND probe IN (SELECT"
                        " probe FROM probes WHERE kind = 'domain')",
                        "i", after));
    return cam_sql_script(sqlite,
                          "DELETE FROM probes WHERE NOT EXISTS (SELECT 1 FROM documents AS d WHERE"
                          " d.probe = probes.probe)");
}

static const char again_sql[] =
    "SELECT d.document, coalesce(d.feed, 0), d.source, d.guid, d.domain, d.bytes, x.text, "
    "d.replaced,"
    " d.admission FROM documents AS d JOIN document_texts AS x ON x.document = d.document WHERE"
    " d.document > ? AND d.probe IS NULL AND NOT EXISTS (SELECT 1 FROM journal AS j WHERE "
    "j.document ="
    " d.document AND j.kind = 'drop') ORDER BY d.document";

enum cam_status cam_admission_again(sqlite3 *sqlite, int64_t after,
                                    struct cam_admission_review *review) {
    struct again *x = calloc(1, sizeof *x);
    sqlite3_stmt *s = NULL;
    int row = 0;
    enum cam_status status = CAM_OK;
    if (x)
        x->writer = calloc(1, sizeof *x->writer);
    if (!x || !x->writer) {
        status = cam_fail(CAM_ERR_OS, "no memory to judge documents again");
        goto out;
    }
    x->admit.sqlite = sqlite;
    x->admit.writer = x->writer;
    CAM_TRY_OUT(take_probes_back(sqlite, after));
    CAM_TRY_OUT(cam_sql_query(sqlite, &s, again_sql, "i", after));
    CAM_TRY_OUT(cam_sql_step(s, &row));
    while (row) {
        struct pending p = {0};
        x->admit.before = sqlite3_column_int64(s, 0);
        status = judge_again(x, s, &p);
        release_pending(&p);
        if (status != CAM_OK)
            goto out;
        CAM_TRY_OUT(cam_sql_step(s, &row));
    }
    *review = x->review;
out:
    sqlite3_finalize(s);
    if (x && x->writer)
        free(x->writer->source);
    if (x) {
        cam_share_release(&x->admit.share);
        free(x->writer);
    }
    free(x);
    return status;
}

/* ---- the writer
 * ---------------------------------------------------------------------------------- */

struct feed_name {
    int64_t feed;
    char *name;
};

static enum cam_status load_feed_name(sqlite3 *sqlite, void *context) {
    struct feed_name *f = context;
    sqlite3_stmt *s = NULL;
    int row = 0;
    CAM_TRY(cam_sql_query(sqlite, &s, "SELECT nullif(name, '') FROM feeds WHERE feed = ?", "i",
                          f->feed));
    enum cam_status status = cam_sql_step(s, &row);
    if (status == CAM_OK && !row)
        status = cam_fail(CAM_ERR_NOINPUT, "feed %lld: there is no such feed", (long long)f->feed);
    if (status == CAM_OK && sqlite3_column_type(s, 0) != SQLITE_NULL)
        f->name = cam_sql_copy(s, 0);
    sqlite3_finalize(s);
    return status;
}

enum cam_status cam_journal_writer_open(struct cam_database *database, int64_t feed,
                                        const char *source, struct cam_journal_writer **writer) {
    enum cam_status status = CAM_OK;
    struct feed_name name = {.feed = feed};
    char shown[DISPLAY_BYTES];
    struct cam_journal_writer *w = calloc(1, sizeof *w);
    if (!w)
        return cam_fail(CAM_ERR_OS, "no memory for a journal writer");
    w->database = database;
    w->feed = feed;
    cam_rows_masked_url(source, shown, sizeof shown);
    w->source = strdup(shown);
    w->zstd = ZSTD_createCCtx();
    if (!w->source || !w->zstd) {
        status = cam_fail(CAM_ERR_OS, "no memory for a journal writer");
        goto out;
    }
    if (feed)
        CAM_TRY_OUT(cam_database_call(database, load_feed_name, &name));
    w->feed_name = name.name;
    *writer = w;
    w = NULL;
out:
    cam_journal_writer_free(w);
    return status;
}

static int sink_document(void *context, const struct cam_document *document) {
    struct cam_journal_writer *w = context;
    enum cam_status status = take_document(&w->pending[w->n_pending], w->zstd, document);
    if (status != CAM_OK)
        return status;
    w->counts.seen++;
    w->pending_bytes += w->pending[w->n_pending++].text_bytes;
    if (w->n_pending == BATCH_DOCUMENTS || w->pending_bytes >= BATCH_BYTES)
        status = flush(w);
    return status;
}

static int sink_rejected(void *context, const char *where, const char *why) {
    struct cam_journal_writer *w = context;
    char message[DISPLAY_BYTES * 2];
    w->counts.seen++;
    if (w->counts.rejected++ >= REJECTED_EVENTS)
        return CAM_OK;
    snprintf(message, sizeof message, "%.300s: %.100s: %.500s", w->source, where, why);
    return cam_history_event(w->database, "warning", "rejected", message, NULL);
}

struct cam_document_sink cam_journal_writer_sink(struct cam_journal_writer *writer) {
    return (struct cam_document_sink){
        .document = sink_document, .rejected = sink_rejected, .context = writer};
}

enum cam_status cam_journal_writer_finish(struct cam_journal_writer *writer,
                                          const struct cam_poll *poll,
                                          struct cam_admission_counts *counts) {
    writer->poll = poll;
    writer->finishing = 1;
    enum cam_status status = flush(writer);
    writer->poll = NULL;
    writer->finishing = 0;
    if (status == CAM_OK && counts)
        *counts = writer->counts;
    return status;
}

enum cam_status cam_journal_writer_flush(struct cam_journal_writer *writer) {
    return writer->n_pending ? flush(writer) : CAM_OK;
}

void cam_journal_writer_free(struct cam_journal_writer *writer) {
    if (!writer)
        return;
    drop_pending(writer);
    free(writer->source);
    free(writer->feed_name);
    ZSTD_freeCCtx(writer->zstd);
    free(writer);
}

/* ---- file probes
 * ----------------------------------------------------------------------------------- */

struct mark {
    const char *name, *hash;
};

/* Trained on (or on the way to be) before it became a probe: the score cannot be trusted. */
static enum cam_status mark_contaminated(sqlite3 *sqlite, void *context) {
    const struct mark *m = context;
    return cam_sql_run(sqlite,
                       "UPDATE probes SET contaminated = (SELECT count(*) FROM documents WHERE "
                       "content_hash = ?2 AND admission = 'train') WHERE kind = 'file' AND name = "
                       "?1",
                       "tt", m->name, m->hash);
}

enum cam_status cam_journal_probe(struct cam_database *database, const char *name, const char *text,
                                  size_t n_bytes) {
    char shown[CAM_DOMAIN_BYTES];
    struct cam_journal_writer *w = NULL;
    struct cam_document document = {
        .title = name, .domain = name, .text = text, .text_bytes = n_bytes};
    if (n_bytes < CAM_MIN_DOCUMENT_BYTES)
        return cam_fail(CAM_ERR_DATA, "%s: a probe needs at least %d bytes of text", name,
                        CAM_MIN_DOCUMENT_BYTES);
    cam_neutral_text(name, shown, sizeof shown);
    CAM_TRY(cam_journal_writer_open(database, 0, name, &w));
    w->probe_name = shown;
    char hex[CAM_HASH_HEX_BYTES];
    cam_hash_hex(cam_hash_bytes(text, n_bytes), hex);
    enum cam_status status = sink_document(w, &document);
    if (status == CAM_OK)
        status = cam_journal_writer_finish(w, NULL, NULL);
    cam_journal_writer_free(w);
    if (status == CAM_OK)
        status = cam_database_write(database, mark_contaminated,
                                    &(struct mark){.name = shown, .hash = hex});
    return status;
}
