#include "feed/encoding.h"

#include "text/clean.h"

#include <ctype.h>
#include <errno.h>
#include <iconv.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define HEAD_BYTES  4096
#define LABEL_BYTES 48

/* Label in lower case without '-' and '_' -> iconv's name.  Where browsers read more than the
 * standard says (Latin-1 as windows-1252, GB 2312 as GB 18030), so do we. */
static const struct {
    const char *label, *name;
} labels[] = {
    {"utf8", "UTF-8"},
    {"unicode11utf8", "UTF-8"},
    {"utf8mb4", "UTF-8"},
    {"usascii", "CP1252"},
    {"ascii", "CP1252"},
    {"iso88591", "CP1252"},
    {"iso885911", "CP874"},
    {"latin1", "CP1252"},
    {"l1", "CP1252"},
    {"cp1252", "CP1252"},
    {"iso88592", "ISO-8859-2"},
    {"latin2", "ISO-8859-2"},
    {"iso88593", "ISO-8859-3"},
    {"iso88594", "ISO-8859-4"},
    {"iso88595", "ISO-8859-5"},
    {"iso88596", "ISO-8859-6"},
    {"iso88597", "ISO-8859-7"},
    {"iso88598", "ISO-8859-8"},
    {"iso88598i", "ISO-8859-8"},
    {"iso88599", "CP1254"},
    {"latin5", "CP1254"},
    {"iso885910", "ISO-8859-10"},
    {"iso885913", "ISO-8859-13"},
    {"iso885914", "ISO-8859-14"},
    {"iso885915", "ISO-8859-15"},
    {"latin9", "ISO-8859-15"},
    {"iso885916", "ISO-8859-16"},
    {"windows874", "CP874"},
    {"tis620", "CP874"},
    {"windows1250", "CP1250"},
    {"cp1250", "CP1250"},
    {"windows1251", "CP1251"},
    {"cp1251", "CP1251"},
    {"windows1252", "CP1252"},
    {"windows1253", "CP1253"},
    {"windows1254", "CP1254"},
    {"windows1255", "CP1255"},
    {"windows1256", "CP1256"},
    {"windows1257", "CP1257"},
    {"windows1258", "CP1258"},
    {"koi8r", "KOI8-R"},
    {"koi8", "KOI8-R"},
    {"koi8u", "KOI8-U"},
    {"ibm866", "CP866"},
    {"cp866", "CP866"},
    {"macintosh", "MACINTOSH"},
    {"xmacroman", "MACINTOSH"},
    {"xmaccyrillic", "MAC-UK"}, /* of which the older Cyrillic one lacks a letter */
    {"xmacukrainian", "MAC-UK"},
    {"maccyrillic", "MAC-UK"},
    {"gb2312", "GB18030"},
    {"gbk", "GB18030"},
    {"gb18030", "GB18030"},
    {"xgbk", "GB18030"},
    {"big5", "BIG5-HKSCS"},
    {"big5hkscs", "BIG5-HKSCS"},
    {"euckr", "UHC"},
    {"ksc56011987", "UHC"},
    {"windows949", "UHC"},
    {"cp949", "UHC"},
    {"eucjp", "EUC-JP"},
    {"xeucjp", "EUC-JP"},
    {"shiftjis", "CP932"},
    {"xsjis", "CP932"},
    {"sjis", "CP932"},
    {"windows31j", "CP932"},
    {"iso2022jp", "ISO-2022-JP"},
};

/* Names of what a document cannot be when its declaration could be read byte by byte. */
static const char *const wide_labels[] = {
    "utf16", "utf16le", "utf16be", "u16",          "utf32",        "utf32le",   "utf32be", "u32",
    "ucs2",  "ucs4",    "unicode", "iso10646ucs2", "iso10646ucs4", "csunicode", "csucs4"};

enum label_kind { LABEL_KNOWN, LABEL_WIDE, LABEL_UNKNOWN, LABEL_REFUSED };

static enum label_kind look_up(const char *label, size_t n, const char **name) {
    char key[LABEL_BYTES];
    size_t n_key = 0;
    for (size_t i = 0; i < n; i++) {
        if (label[i] == '-' || label[i] == '_' || label[i] == ' ')
            continue;
        if (n_key + 1 == sizeof key)
            return LABEL_UNKNOWN;
        key[n_key++] = (char)tolower((unsigned char)label[i]);
    }
    key[n_key] = '\0';
    if (strstr(key, "utf7"))
        return LABEL_REFUSED;
    for (size_t i = 0; i < sizeof wide_labels / sizeof *wide_labels; i++)
        if (strcmp(key, wide_labels[i]) == 0)
            return LABEL_WIDE;
    for (size_t i = 0; i < sizeof labels / sizeof *labels; i++)
        if (strcmp(key, labels[i].label) == 0) {
            *name = labels[i].name;
            return LABEL_KNOWN;
        }
    return LABEL_UNKNOWN;
}

/* ---- the evidence ---- */

static int find_mark(const unsigned char *s, size_t n, struct cam_encoding *encoding) {
    static const struct {
        const char *bytes;
        size_t n, n_mark, unit;
        const char *name;
    } marks[] = {
        {"\0\0\xFE\xFF", 4, 4, 4, "UTF-32BE"}, {"\xFF\xFE\0\0", 4, 4, 4, "UTF-32LE"},
        {"\xEF\xBB\xBF", 3, 3, 1, "UTF-8"},    {"\xFE\xFF", 2, 2, 2, "UTF-16BE"},
        {"\xFF\xFE", 2, 2, 2, "UTF-16LE"},     {"\0\0\0<", 4, 0, 4, "UTF-32BE"},
        {"<\0\0\0", 4, 0, 4, "UTF-32LE"},      {"\0<\0", 3, 0, 2, "UTF-16BE"},
        {"<\0", 2, 0, 2, "UTF-16LE"},
    };
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (n >= marks[i].n && memcmp(s, marks[i].bytes, marks[i].n) == 0) {
            *encoding = (struct cam_encoding){marks[i].name, marks[i].n_mark, marks[i].unit,
                                              "byte order mark"};
            return 1;
        }
    return 0;
}

/* The value of NAME in the N bytes at S: name = value, quoted or not.  NULL if there is none. */
static const char *find_value(const char *s, size_t n, const char *name, size_t *n_value) {
    size_t n_name = strlen(name), at = 0;
    for (; at + n_name < n; at++)
        if (strncasecmp(s + at, name, n_name) == 0) {
            size_t from = at + n_name;
            while (from < n && isspace((unsigned char)s[from]))
                from++;
            if (from == n || s[from] != '=')
                continue;
            from++;
            while (from < n &&
                   (isspace((unsigned char)s[from]) || s[from] == '"' || s[from] == '\''))
                from++;
            size_t to = from;
            while (to < n && !isspace((unsigned char)s[to]) && !(s[to] && strchr("\"';>?,", s[to])))
                to++;
            while (to > from && s[to - 1] == '/') /* <meta charset=utf-8/> */
                to--;
            *n_value = to - from;
            return s + from;
        }
    return NULL;
}

size_t cam_encoding_declaration(const char *text, size_t n_text) {
    size_t at = 0;
    while (at < n_text && isspace((unsigned char)text[at]))
        at++;
    if (n_text - at < 6 || memcmp(text + at, "<?xml", 5) != 0 ||
        !isspace((unsigned char)text[at + 5]))
        return 0;
    size_t head = n_text - at < HEAD_BYTES ? n_text - at : HEAD_BYTES;
    const char *end = memmem(text + at, head, "?>", 2);
    return end ? (size_t)(end - text) + 2 : 0;
}

/* <meta charset=x> or <meta http-equiv=content-type content="text/html; charset=x">. */
static const char *find_meta(const char *s, size_t n, size_t *n_value) {
    size_t head = n < HEAD_BYTES ? n : HEAD_BYTES;
    for (size_t at = 0; at + 5 < head; at++) {
        const char *open = memchr(s + at, '<', head - at - 5);
        if (!open)
            return NULL;
        at = (size_t)(open - s);
        if (strncasecmp(open, "<meta", 5) != 0)
            continue;
        const char *close = memchr(open, '>', head - at);
        const char *value =
            find_value(open, close ? (size_t)(close - open) : head - at, "charset", n_value);
        if (value)
            return value;
    }
    return NULL;
}

static int is_html(const char *s, size_t n, const char *content_type) {
    size_t at = 0;
    if (strncasecmp(content_type, "text/html", 9) == 0)
        return 1;
    while (at < n && isspace((unsigned char)s[at]))
        at++;
    return n - at > 14 &&
           (strncasecmp(s + at, "<!doctype html", 14) == 0 ||
            strncasecmp(s + at, "<html", 5) == 0 || strncasecmp(s + at, "<head", 5) == 0 ||
            strncasecmp(s + at, "<meta", 5) == 0);
}

/* ---- UTF-8 by itself ---- */

/* Length of the well-formed sequence at S (a lead byte of 0x80 or more), or 0. */
static size_t sequence(const unsigned char *s, size_t n) {
    static const unsigned char low[] = {0xA0, 0x90}, high[] = {0x9F, 0x8F};
    unsigned char lead = s[0], from = 0x80, to = 0xBF;
    if (lead < 0xC2 || lead > 0xF4)
        return 0;
    size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead == 0xE0 || lead == 0xF0)
        from = low[lead == 0xF0];
    if (lead == 0xED || lead == 0xF4)
        to = high[lead == 0xF4];
    if (n < length || s[1] < from || s[1] > to)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    return length;
}

/* Sequences of more than one byte: how many are well-formed, how many bytes are in none. */
static void count_sequences(const char *bytes, size_t n, size_t *n_good, size_t *n_bad) {
    const unsigned char *s = (const unsigned char *)bytes;
    *n_good = *n_bad = 0;
    for (size_t at = 0; at < n;) {
        uint64_t word;
        if (n - at >= sizeof word) {
            memcpy(&word, s + at, sizeof word);
            if (!(word & 0x8080808080808080u)) {
                at += sizeof word;
                continue;
            }
        }
        if (s[at] < 0x80) {
            at++;
            continue;
        }
        size_t length = sequence(s + at, n - at);
        *(length ? n_good : n_bad) += 1;
        at += length ? length : 1;
    }
}

/* ---- the verdict ---- */

static enum cam_status refuse(const char *what, const char *label, size_t n) {
    return cam_fail(CAM_ERR_DATA, "the %s names the encoding \"%.*s\", which is not read", what,
                    (int)(n < 40 ? n : 40), label);
}

enum cam_status cam_encoding_find(const char *bytes, size_t n_bytes, const char *content_type,
                                  struct cam_encoding *encoding) {
    const char *name = NULL, *label, *source = "header";
    size_t n_label = 0, n_declaration = cam_encoding_declaration(bytes, n_bytes);
    if (!content_type)
        content_type = "";
    if (find_mark((const unsigned char *)bytes, n_bytes, encoding))
        return CAM_OK;
    label = find_value(content_type, strlen(content_type), "charset", &n_label);
    enum label_kind kind = label ? look_up(label, n_label, &name) : LABEL_UNKNOWN;
    if (kind == LABEL_REFUSED)
        return refuse("Content-Type", label, n_label);
    if (kind != LABEL_KNOWN) {
        source = "declaration";
        label = find_value(bytes, n_declaration, "encoding", &n_label);
        if (!label && is_html(bytes, n_bytes, content_type)) {
            source = "meta";
            label = find_meta(bytes, n_bytes, &n_label);
        }
        kind = label ? look_up(label, n_label, &name) : LABEL_WIDE;
        if (kind == LABEL_REFUSED || kind == LABEL_UNKNOWN)
            return refuse(source, label, n_label);
    }
    if (kind == LABEL_WIDE) {
        size_t n_good, n_bad;
        count_sequences(bytes, n_bytes, &n_good, &n_bad);
        name = n_bad > 0 && n_good == 0 ? "CP1252" : "UTF-8";
        source = "default";
    }
    *encoding = (struct cam_encoding){name, 0, 1, source};
    return CAM_OK;
}

/* ---- decoding ---- */

static enum cam_status replace(struct cam_buffer *out, size_t *n_replaced) {
    ++*n_replaced;
    return cam_buffer_append(out, "\xEF\xBF\xBD", 3);
}

static enum cam_status convert(iconv_t converter, const char *bytes, size_t n_bytes, size_t unit,
                               struct cam_buffer *out, size_t *n_replaced) {
    char *from = (char *)(uintptr_t)bytes, piece[4096]; /* iconv does not write to its input */
    while (n_bytes) {
        char *to = piece;
        size_t n_to = sizeof piece;
        size_t done = iconv(converter, &from, &n_bytes, &to, &n_to);
        int code = errno;
        CAM_TRY(cam_buffer_append(out, piece, sizeof piece - n_to));
        if (done != (size_t)-1 || code == E2BIG)
            continue;
        CAM_TRY(replace(out, n_replaced));
        size_t skip =
            code == EINVAL || n_bytes < unit ? n_bytes : unit; /* EINVAL: cut at the end */
        from += skip, n_bytes -= skip;
    }
    return CAM_OK;
}

enum cam_status cam_encoding_decode(const char *bytes, size_t n_bytes,
                                    const struct cam_encoding *encoding, struct cam_buffer *scratch,
                                    const char **text, size_t *n_text, size_t *n_replaced) {
    enum cam_status status;
    size_t n_good, n_bad, n = 0;
    bytes += encoding->n_mark, n_bytes -= encoding->n_mark;
    cam_buffer_clear(scratch);
    scratch->limit = 3 * n_bytes + 64; /* a byte becomes at most three */
    if (strcmp(encoding->name, "UTF-8") == 0) {
        count_sequences(bytes, n_bytes, &n_good, &n_bad);
        if (n_bad == 0) {
            *text = bytes, *n_text = n_bytes, *n_replaced = 0;
            return CAM_OK;
        }
        status = cam_clean_utf8(bytes, n_bytes, scratch, &n);
    } else {
        iconv_t converter = iconv_open("UTF-8", encoding->name);
        if (converter == (iconv_t)-1)
            return cam_fail_errno(CAM_ERR_OS, errno, "no converter from %s", encoding->name);
        status = convert(converter, bytes, n_bytes, encoding->unit, scratch, &n);
        iconv_close(converter);
    }
    CAM_TRY(status);
    *text = scratch->data ? scratch->data : "";
    *n_text = scratch->size;
    *n_replaced = n;
    return CAM_OK;
}
