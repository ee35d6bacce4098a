/* feed_xml_internal.h - what feed_xml.c collects and feed_xml_entry.c delivers. */
#ifndef CAM_FEED_FEED_XML_INTERNAL_H
#define CAM_FEED_FEED_XML_INTERNAL_H

#include "base/buffer.h"
#include "feed/draft.h"
#include "feed/feed.h"
#include "feed/xml.h"

enum code {
    CODE_NONE,
    CODE_FEED, /* <feed> or <channel> */
    CODE_ENTRY,
    CODE_ROOT, /* <rss> or <rdf:RDF> */
    CODE_ID,
    CODE_IDENTIFIER,
    CODE_LINK,
    CODE_ENCLOSURE,
    CODE_TITLE,
    CODE_OTHER_TITLE,
    CODE_CONTENT,
    CODE_ENCODED,
    CODE_BODY,
    CODE_DESCRIPTION,
    CODE_SUMMARY,
    CODE_OTHER_TEXT, /* dc:description, itunes:summary */
    CODE_MEDIA_TEXT,
    CODE_MEDIA_TITLE,
    CODE_AUTHOR,
    CODE_CREATOR,
    CODE_CATEGORY,
    CODE_LANGUAGE,
    CODE_PUBLISHED,
    CODE_UPDATED,
    CODE_DATE,
    CODE_CREATED,
    CODE_SOURCE
};

enum kind {
    KIND_TEXT,
    KIND_GUESS, /* text or HTML, as it looks */
    KIND_HTML,
    KIND_XHTML, /* child elements, written back as HTML */
    KIND_NONE   /* no text at all */
};

/* Text that may have markup. */
struct cam_xml_part {
    struct cam_buffer body;
    const char *base, *language; /* kept by the parser; "" for none */
    enum kind kind;
    int is_base64;
};

enum part_name { PART_CONTENT, PART_DESCRIPTION, PART_SUMMARY, PART_OTHER, N_TEXTS };
#define PART_TITLE       N_TEXTS
#define PART_OTHER_TITLE (N_TEXTS + 1)
#define N_PARTS          (N_TEXTS + 2)

/* How good a link is as the entry's address. */
enum link_rank { LINK_NONE, LINK_ENCLOSURE, LINK_OTHER, LINK_PAGE };

struct cam_xml_entry {
    struct cam_buffer field[CAM_N_FIELDS]; /* but for the title */
    struct cam_buffer source_author;
    struct cam_xml_part part[N_PARTS];
    const char *language;  /* xml:lang of the entry */
    enum code author_code; /* the element its authors come from */
    int published_rank, updated_rank, id_rank;
    enum link_rank link_rank;
    int is_no_permalink;
    size_t i_entry;
    char *why; /* owned: the reason if it cannot become a document */
};

enum person_part { PERSON_TEXT, PERSON_NAME, PERSON_EMAIL, PERSON_URI, N_PERSON_PARTS };

struct cam_xml_reader {
    struct cam_xml *xml;
    const struct cam_feed_limits *limits;
    const struct cam_feed_input *input;
    int title_only, is_atom;
    struct cam_xml_part title; /* of the feed */
    struct cam_buffer author, language;
    struct cam_buffer site;    /* the feed's own <link> */
    const char *feed_language; /* its xml:lang */
    struct cam_xml_entry *entries;
    size_t n_entries, capacity;
    size_t depth, feed_depth;
    size_t entry_depth;  /* 0 outside entries */
    size_t source_depth; /* of the open <source>, or 0 */
    /* the open field */
    enum code code; /* CODE_NONE: none is open */
    size_t field_depth;
    struct cam_xml_part *part; /* where it goes if it has markup */
    size_t div_depth;          /* of the <div> that wraps it and is not part of it, or 0 */
    enum link_rank link_rank;  /* of the open <link> */
    struct cam_buffer value;
    struct cam_buffer person[N_PERSON_PARTS];
    enum person_part person_part;
};

void cam_xml_part_init(struct cam_xml_part *part, size_t limit);
void cam_xml_entry_init(struct cam_xml_entry *entry, const struct cam_feed_limits *limits,
                        size_t i_entry);
void cam_xml_entry_release(struct cam_xml_entry *entry);

/* White space only, or nothing. */
int cam_xml_is_blank(const struct cam_buffer *buffer);

/* Hands the first N_ENTRIES entries to SINK, oldest first. */
CAM_MUST_USE enum cam_status cam_xml_entries_deliver(const struct cam_xml_reader *reader,
                                                     size_t n_entries,
                                                     const struct cam_document_sink *sink);

/* The feed's own title as one clean line, appended to TITLE. */
CAM_MUST_USE enum cam_status cam_xml_feed_title(const struct cam_xml_reader *reader,
                                                struct cam_buffer *title);

#endif
