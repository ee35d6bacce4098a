#include "feed/xml_encoding.h"

#include <iconv.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

static const char *const known[] = {
    "windows-1250", "windows-1251", "windows-1252", "windows-1253", "windows-1254", "windows-1255",
    "windows-1256", "windows-1257", "windows-1258", "ISO-8859-2",   "ISO-8859-3",   "ISO-8859-4",
    "ISO-8859-5",   "ISO-8859-6",   "ISO-8859-7",   "ISO-8859-8",   "ISO-8859-9",   "ISO-8859-10",
    "ISO-8859-13",  "ISO-8859-14",  "ISO-8859-15",  "ISO-8859-16",  "KOI8-R",       "KOI8-U",
};

/* The code point of one byte, or -1 where the encoding leaves it undefined. */
static int decode_byte(iconv_t converter, unsigned char byte) {
    char in[1] = {(char)byte};
    uint32_t out[2] = {0};
    char *from = in, *to = (char *)out;
    size_t n_from = 1, n_to = sizeof out;
    iconv(converter, NULL, NULL, NULL, NULL);
    if (iconv(converter, &from, &n_from, &to, &n_to) == (size_t)-1 || n_to != sizeof out[0])
        return -1;
    return out[0] <= 0xFFFF ? (int)out[0] : -1;
}

int XMLCALL cam_xml_encoding(void *context, const XML_Char *name, XML_Encoding *encoding) {
    const char *found = NULL;
    (void)context;
    for (size_t i = 0; i < sizeof known / sizeof *known && !found; i++)
        if (strcasecmp(known[i], name) == 0)
            found = known[i];
    iconv_t converter = found ? iconv_open("UCS-4LE", found) : (iconv_t)-1;
    if (converter == (iconv_t)-1)
        return XML_STATUS_ERROR;
    memset(encoding, 0, sizeof *encoding);
    for (int i = 0; i < 256; i++)
        encoding->map[i] = i < 128 ? i : decode_byte(converter, (unsigned char)i);
    iconv_close(converter);
    return XML_STATUS_OK;
}
