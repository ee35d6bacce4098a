/* simhash.h - 64 bits that differ little where texts differ little (Charikar 2002, "Similarity
 * estimation techniques from rounding algorithms"; as used by Manku, Jain and Das Sarma 2007,
 * "Detecting near-duplicates for web crawling").
 *
 * Features are pairs of neighbouring words: a word is a run of letters and digits, ASCII letters in
 * lower case, other characters as they are; an ideograph or kana is a word by itself.  Punctuation,
 * white space and case therefore never matter.  Each feature's hash votes for every bit.  A pure
 * function of the text, the same on every machine; linear. */
#ifndef CAM_STORE_SIMHASH_H
#define CAM_STORE_SIMHASH_H

#include <stddef.h>
#include <stdint.h>

/* Fewer pairs of words than this say too little: such a text has no near duplicates. */
#define CAM_SIMHASH_MIN_FEATURES 16

/* The hash of UTF-8 TEXT; *N_FEATURES is the number of word pairs. */
uint64_t cam_simhash(const char *text, size_t n_bytes, size_t *n_features);

/* In how many bits A and B differ. */
int cam_simhash_distance(uint64_t a, uint64_t b);

#endif
