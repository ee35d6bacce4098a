/* How often a publisher wants to be asked.  RSS 2.0: <ttl> in minutes, <skipHours><hour>,
 * <skipDays><day>; the syndication module (sy:) of RSS 1.0, also seen in RSS 2.0 and Atom:
 * updatePeriod and updateFrequency, how many updates there are in a period.
 *
 * A parse of its own, apart from the readers of documents: it stops at the first entry, so it costs
 * the head of a feed, and whatever is wrong with the rest is not its business. */
#include "feed/encoding.h"
#include "feed/feed.h"

#include <ctype.h>
#include <expat.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define WORD_BYTES   32 /* longest value worth reading */
#define MAX_DEPTH    4  /* rss/channel/skipHours/hour */
#define MAX_TTL_S    (366 * 86400)
#define MAX_HEAD     (1 << 20) /* of a feed that never comes to its first entry */
#define DEFAULT_RATE 1

enum skip { SKIP_NONE, SKIP_HOURS, SKIP_DAYS };

struct head {
    XML_Parser parser;
    struct cam_feed_hints hints;
    int depth;
    enum skip skip; /* the element at depth 3 that is open */
    char word[WORD_BYTES];
    size_t n_word;
    int64_t period_s, frequency;
};

static const char *local_name(const char *name) {
    const char *colon = strrchr(name, ':');
    return colon ? colon + 1 : name;
}

static void XMLCALL on_start(void *context, const XML_Char *name, const XML_Char **attributes) {
    struct head *h = context;
    (void)attributes;
    name = local_name(name);
    h->n_word = 0;
    h->depth++;
    if (h->depth > 1 && h->depth <= 3 && (strcmp(name, "item") == 0 || strcmp(name, "entry") == 0))
        XML_StopParser(h->parser, XML_FALSE);
    if (h->depth == 3)
        h->skip = strcmp(name, "skipHours") == 0  ? SKIP_HOURS
                  : strcmp(name, "skipDays") == 0 ? SKIP_DAYS
                                                  : SKIP_NONE;
}

static void XMLCALL on_text(void *context, const XML_Char *text, int n) {
    struct head *h = context;
    for (int i = 0; i < n && h->n_word + 1 < WORD_BYTES; i++)
        if (!isspace((unsigned char)text[i]))
            h->word[h->n_word++] = text[i];
}

/* Whole numbers from LEAST to MOST; -1 for anything else. */
static int64_t number(const char *word, int64_t least, int64_t most) {
    char *end;
    if (!isdigit((unsigned char)*word))
        return -1;
    long long value = strtoll(word, &end, 10);
    return *end || value < least || value > most ? -1 : value;
}

static int64_t period(const char *word) {
    static const struct {
        const char *name;
        int64_t seconds;
    } periods[] = {{"hourly", 3600},
                   {"daily", 86400},
                   {"weekly", 7 * 86400},
                   {"monthly", 30 * 86400},
                   {"yearly", 365 * 86400}};
    for (size_t i = 0; i < sizeof periods / sizeof *periods; i++)
        if (strcasecmp(word, periods[i].name) == 0)
            return periods[i].seconds;
    return 0;
}

static void skip_day(struct head *h) {
    static const char days[][4] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};
    for (unsigned i = 0; i < 7; i++)
        if (strncasecmp(h->word, days[i], 3) == 0)
            h->hints.skip_days |= UINT32_C(1) << i;
}

static void take_word(struct head *h, const char *name) {
    int64_t n;
    h->word[h->n_word] = '\0';
    if (h->depth == 4 && h->skip == SKIP_HOURS && strcmp(name, "hour") == 0) {
        n = number(h->word, 0, 24); /* RSS 0.91 counts from 1 to 24 */
        if (n >= 0)
            h->hints.skip_hours |= UINT32_C(1) << (n % 24);
    } else if (h->depth == 4 && h->skip == SKIP_DAYS && strcmp(name, "day") == 0) {
        skip_day(h);
    } else if (h->depth == 3 && strcmp(name, "ttl") == 0) {
        n = number(h->word, 1, MAX_TTL_S / 60);
        h->hints.ttl_s = n > 0 ? 60 * n : 0;
    } else if ((h->depth == 2 || h->depth == 3) && strcmp(name, "updatePeriod") == 0) {
        h->period_s = period(h->word);
    } else if ((h->depth == 2 || h->depth == 3) && strcmp(name, "updateFrequency") == 0) {
        n = number(h->word, 1, 86400);
        h->frequency = n > 0 ? n : DEFAULT_RATE;
    }
}

static void XMLCALL on_end(void *context, const XML_Char *name) {
    struct head *h = context;
    if (h->depth <= MAX_DEPTH)
        take_word(h, local_name(name));
    h->n_word = 0;
    if (h->depth == 3)
        h->skip = SKIP_NONE;
    h->depth--;
}

/* Entities are never defined: there is no way to a document type from here. */
static void XMLCALL on_doctype(void *context, const XML_Char *name, const XML_Char *system,
                               const XML_Char *public, int has_subset) {
    struct head *h = context;
    (void)name, (void)system, (void)public, (void)has_subset;
    XML_StopParser(h->parser, XML_FALSE);
}

static void parse(struct head *h, const char *text, size_t n_text) {
    h->parser = XML_ParserCreate("UTF-8"); /* whatever its declaration says */
    if (!h->parser)
        return;
    XML_SetUserData(h->parser, h);
    XML_SetElementHandler(h->parser, on_start, on_end);
    XML_SetCharacterDataHandler(h->parser, on_text);
    XML_SetStartDoctypeDeclHandler(h->parser, on_doctype);
    (void)XML_Parse(h->parser, text, (int)n_text, 0);
    XML_ParserFree(h->parser);
    if (h->hints.ttl_s == 0 && h->period_s > 0)
        h->hints.ttl_s = h->period_s / h->frequency;
}

void cam_feed_hints_read(const char *bytes, size_t n_bytes, const char *content_type,
                         struct cam_feed_hints *hints) {
    struct head h = {.frequency = DEFAULT_RATE};
    struct cam_encoding encoding;
    struct cam_buffer scratch;
    const char *text;
    size_t n_text, n_replaced = 0, n_head = n_bytes < MAX_HEAD ? n_bytes : MAX_HEAD;
    *hints = (struct cam_feed_hints){0};
    if (n_bytes == 0 || !memchr(bytes, '<', n_bytes < 64 ? n_bytes : 64))
        return;
    cam_buffer_init(&scratch, MAX_HEAD);
    if (cam_encoding_find(bytes, n_head, content_type, &encoding) == CAM_OK &&
        cam_encoding_decode(bytes, n_head, &encoding, &scratch, &text, &n_text, &n_replaced) ==
            CAM_OK &&
        n_text < (size_t)8 * MAX_HEAD)
        parse(&h, text, n_text);
    cam_buffer_release(&scratch);
    *hints = h.hints;
}
