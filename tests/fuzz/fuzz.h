/* fuzz.h - one function a target, called by libFuzzer (CAM_FUZZ=ON, clang) and, with the committed
 * corpus, by replay.c in every test run.
 *
 * To add one: fuzz_<name>.c that defines LLVMFuzzerTestOneInput, a folder corpus/<name> with a few
 * small inputs, and the name in tests.cmake. */
#ifndef CAM_TESTS_FUZZ_FUZZ_H
#define CAM_TESTS_FUZZ_FUZZ_H

#include "base/status.h"
#include "flow.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

/* What holds whatever came in: a status that may be, and text that later stages may rely on. */
static inline void fuzz_expect(int holds) {
    if (!holds)
        abort();
}

static inline int fuzz_take_document(void *context, const struct cam_document *d) {
    (void)context;
    fuzz_expect(d->text != NULL && strlen(d->text) == d->text_bytes);
    for (size_t i = 0; i < d->text_bytes; i++)
        fuzz_expect((unsigned char)d->text[i] >= 0x20 || d->text[i] == '\n' || d->text[i] == '\t');
    return CAM_OK;
}

static inline int fuzz_take_rejected(void *context, const char *where, const char *why) {
    (void)context;
    fuzz_expect(*where != '\0' && *why != '\0');
    return CAM_OK;
}

#endif
