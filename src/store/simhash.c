/* Votes are counted eight bits of the hash at a time: a table spreads a byte into eight counters of
 * one byte each, so a feature costs eight additions; counters are emptied before they overflow. */
#include "store/simhash.h"

#include <pthread.h>

#define LANES           8
#define MAX_VOTES       255                          /* a byte holds no more */
#define FNV_OFFSET      UINT64_C(0xcbf29ce484222325) /* FNV-1a, 64 bits (RFC draft eastlake-fnv) */
#define FNV_PRIME       UINT64_C(0x100000001b3)
#define FIRST_IDEOGRAPH 0x2E80

static uint64_t spread[256];     /* byte i of spread[b] is bit i of b */
static unsigned char ascii[128]; /* lower case of letters and digits; 0: breaks a word */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fill_tables(void) {
    for (unsigned c = 'a'; c <= 'z'; c++)
        ascii[c] = ascii[c - 'a' + 'A'] = (unsigned char)c;
    for (unsigned c = '0'; c <= '9'; c++)
        ascii[c] = (unsigned char)c;
    for (unsigned b = 0; b < 256; b++)
        for (unsigned i = 0; i < LANES; i++)
            spread[b] |= (uint64_t)(b >> i & 1) << (8 * i);
}

struct votes {
    uint64_t lanes[LANES];
    uint64_t counts[64];
    unsigned n_pending; /* features in LANES */
    size_t n_features;
    uint64_t previous; /* hash of the word before */
    int has_previous;
    uint64_t word; /* of the word that is open */
    int is_open;
};

static void empty_lanes(struct votes *v) {
    for (unsigned i = 0; i < LANES; i++) {
        for (unsigned j = 0; j < 8; j++)
            v->counts[8 * i + j] += v->lanes[i] >> (8 * j) & 0xFF;
        v->lanes[i] = 0;
    }
    v->n_pending = 0;
}

/* The finaliser of SplitMix64 (Steele, Lea and Flood 2014): every input bit reaches every output
 * bit, which FNV alone does not do for short words. */
static uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static void take_word(struct votes *v, uint64_t word) {
    word = mix(word);
    if (v->has_previous) {
        uint64_t pair = mix(v->previous * 3 + word); /* order counts */
        for (unsigned i = 0; i < LANES; i++)
            v->lanes[i] += spread[pair >> (8 * i) & 0xFF];
        v->n_features++;
        if (++v->n_pending == MAX_VOTES)
            empty_lanes(v);
    }
    v->previous = word;
    v->has_previous = 1;
}

static void end_word(struct votes *v) {
    if (v->is_open)
        take_word(v, v->word);
    v->is_open = 0;
    v->word = FNV_OFFSET;
}

enum kind { KIND_BREAK, KIND_LETTER, KIND_IDEOGRAPH };

/* Bytes of the character beyond ASCII at S, at most N (N >= 1), and what it is to a word.  Latin-1
 * punctuation (lead byte C2), general punctuation (quotes, dashes) and CJK punctuation break words.
 */
static size_t character(const unsigned char *s, size_t n, enum kind *kind) {
    size_t length = s[0] < 0xC0 ? 1 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
    if (length > n)
        length = n;
    unsigned code = length == 3   ? (s[0] & 0x0Fu) << 12 | (s[1] & 0x3Fu) << 6 | (s[2] & 0x3Fu)
                    : length == 4 ? 0x10000u
                                  : s[0];
    if (length < 3)
        *kind = s[0] == 0xC2 ? KIND_BREAK : KIND_LETTER;
    else if ((code >= 0x2000 && code < 0x2070) || (code >= 0x3000 && code < 0x3040))
        *kind = KIND_BREAK;
    else
        *kind = code >= FIRST_IDEOGRAPH ? KIND_IDEOGRAPH : KIND_LETTER;
    return length;
}

uint64_t cam_simhash(const char *text, size_t n_bytes, size_t *n_features) {
    const unsigned char *s = (const unsigned char *)text;
    struct votes v = {.word = FNV_OFFSET};
    pthread_once(&once, fill_tables);
    for (size_t at = 0, length; at < n_bytes; at += length) {
        enum kind kind;
        length = 1;
        if (s[at] < sizeof ascii) { /* nearly all there is */
            if (!ascii[s[at]]) {
                end_word(&v);
                continue;
            }
            v.word = (v.word ^ ascii[s[at]]) * FNV_PRIME;
            v.is_open = 1;
            continue;
        }
        length = character(s + at, n_bytes - at, &kind);
        if (kind != KIND_LETTER)
            end_word(&v);
        if (kind == KIND_BREAK)
            continue;
        for (size_t i = 0; i < length; i++)
            v.word = (v.word ^ s[at + i]) * FNV_PRIME;
        v.is_open = 1;
        if (kind == KIND_IDEOGRAPH)
            end_word(&v);
    }
    end_word(&v);
    empty_lanes(&v);
    uint64_t hash = 0;
    for (unsigned i = 0; i < 64; i++)
        hash |= (uint64_t)(2 * v.counts[i] > v.n_features) << i;
    *n_features = v.n_features;
    return hash;
}

int cam_simhash_distance(uint64_t a, uint64_t b) {
    return __builtin_popcountll(a ^ b);
}
