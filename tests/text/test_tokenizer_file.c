/* The .bpe file: what is written reads back the same, and nothing else is accepted. */
#include "tokenizer_support.h"

#include "base/embed.h"

#define HEAD "cambium-tokenizer 1\nsplit 1\n"

/* Loading must fail with CAM_ERR_DATA, say SAYS, and leave the output alone. */
static void check_refused(const void *bytes, size_t n, const char *says) {
    /* An exact copy on the heap, so that a read past the end is caught. */
    char *copy = malloc(n ? n : 1);
    struct cam_tokenizer *tokenizer = (void *)copy;
    memcpy(copy, bytes, n);
    cr_assert_eq(cam_tokenizer_load(copy, n, &tokenizer), CAM_ERR_DATA, "accepted %zu bytes", n);
    cr_assert_eq((void *)tokenizer, (void *)copy);
    cr_assert_not_null(strstr(cam_message(), says), "said: %s", cam_message());
    free(copy);
}

static void check_body_refused(const char *body, const char *says) {
    struct cam_buffer file = signed_file(body);
    check_refused(file.data, file.size, says);
    cam_buffer_release(&file);
}

static const struct cam_embedded *default_file(void) {
    const struct cam_embedded *file = cam_embedded_find(cam_embedded_tokenizer, "default.bpe");
    cr_assert_not_null(file);
    return file;
}

Test(tokenizer_file, default_writes_the_bytes_it_was_read_from) {
    const struct cam_embedded *file = default_file();
    struct cam_tokenizer *tokenizer;
    struct cam_buffer written;
    cam_buffer_init(&written, CAM_TOKENIZER_MAX_FILE_BYTES);
    MUST(cam_tokenizer_default(&tokenizer));
    MUST(cam_tokenizer_write(tokenizer, &written));
    cr_assert_eq(written.size, file->size);
    cr_assert(memcmp(written.data, file->data, file->size) == 0);
    cr_assert(
        cam_hash_equal(cam_tokenizer_hash(tokenizer), cam_hash_bytes(file->data, file->size)));
    cam_buffer_release(&written);
    cam_tokenizer_free(tokenizer);
}

Test(tokenizer_file, bytes_kind_is_a_file_too) {
    struct cam_tokenizer *bytes, *again;
    struct cam_buffer file;
    cam_buffer_init(&file, 4096);
    MUST(cam_tokenizer_bytes_new(&bytes));
    MUST(cam_tokenizer_write(bytes, &file));
    MUST(cam_tokenizer_load(file.data, file.size, &again));
    cr_assert(cam_hash_equal(cam_tokenizer_hash(bytes), cam_tokenizer_hash(again)));
    cr_assert_str_eq(cam_tokenizer_kind(again), "bytes");
    cam_buffer_release(&file);
    cam_tokenizer_free(again);
    cam_tokenizer_free(bytes);
}

Test(tokenizer_file, writing_into_a_full_buffer_leaves_it_as_it_was) {
    struct cam_tokenizer *bytes;
    struct cam_buffer file;
    cam_buffer_init(&file, 50);
    MUST(cam_buffer_append_text(&file, "kept"));
    MUST(cam_tokenizer_bytes_new(&bytes));
    cr_assert_neq(cam_tokenizer_write(bytes, &file), CAM_OK);
    cr_assert_str_eq(file.data, "kept");
    cam_buffer_release(&file);
    cam_tokenizer_free(bytes);
}

Test(tokenizer_file, cut_files_are_refused) {
    const struct cam_embedded *file = default_file();
    size_t header = 200;
    for (size_t n = 0; n < file->size; n += n < header || n + header > file->size ? 1 : 97)
        check_refused(file->data, n, "tokenizer file");
}

Test(tokenizer_file, appended_bytes_are_refused) {
    const struct cam_embedded *file = default_file();
    char *longer = malloc(file->size + 1);
    memcpy(longer, file->data, file->size);
    longer[file->size] = '\n';
    check_refused(longer, file->size + 1, "tokenizer file");
    free(longer);
}

Test(tokenizer_file, changed_bytes_are_refused) {
    const struct cam_embedded *file = default_file();
    char *changed = malloc(file->size);
    memcpy(changed, file->data, file->size);
    for (size_t i = 0; i < file->size; i += i < 200 || i + 60 > file->size ? 1 : 53) {
        char original = changed[i];
        changed[i] = (char)(original ^ (1 << random_below(i, 0, 8)));
        check_refused(changed, file->size, "tokenizer file");
        changed[i] = original;
    }
    free(changed);
}

Test(tokenizer_file, one_merge_is_enough) {
    struct cam_buffer file = signed_file(HEAD "vocabulary 258\n104 105\n");
    struct cam_tokenizer *tokenizer;
    uint16_t ids[8];
    size_t n;
    MUST(cam_tokenizer_load(file.data, file.size, &tokenizer));
    MUST(cam_tokenizer_encode(tokenizer, "hi ohi", 6, ids, 8, &n));
    cr_assert_eq(n, 4);
    cr_assert(ids[0] == 257 && ids[1] == ' ' && ids[2] == 'o' && ids[3] == 257);
    cam_tokenizer_free(tokenizer);
    cam_buffer_release(&file);
}

Test(tokenizer_file, impossible_merges_are_refused) {
    check_body_refused(HEAD "vocabulary 258\n257 97\n", "not below its own id");
    check_body_refused(HEAD "vocabulary 258\n97 300\n", "not below its own id");
    check_body_refused(HEAD "vocabulary 259\n258 97\n257 98\n", "not below its own id");
    check_body_refused(HEAD "vocabulary 258\n256 97\n", "end of text");
    check_body_refused(HEAD "vocabulary 258\n97 256\n", "end of text");
    check_body_refused(HEAD "vocabulary 259\n97 98\n97 98\n", "merged before");
    /* Doubling: 2, 4, ... 64 bytes are words, 128 are not. */
    check_body_refused(HEAD "vocabulary 264\n97 97\n257 257\n258 258\n259 259\n260 260\n261 261\n"
                            "262 262\n",
                       "128 bytes");
}

Test(tokenizer_file, wrong_headers_are_refused) {
    check_refused("", 0, "empty");
    check_refused("hello", 5, "line 1");
    check_body_refused("cambium-tokenizer 2\nsplit 1\nvocabulary 257\n", "format 2");
    check_body_refused("cambium-tokenizer 1\nsplit 2\nvocabulary 257\n", "split rule 2");
    check_body_refused("cambium-tokenizer 1\nsplit\nvocabulary 257\n", "line 2");
    check_body_refused(HEAD "vocabulary 256\n", "256 is not within");
    check_body_refused(HEAD "vocabulary 65536\n", "line 3");
    check_body_refused(HEAD "vocabulary 99999999999999999999\n", "line 3");
    check_body_refused(HEAD "vocabulary -1\n", "line 3");
    check_body_refused(HEAD "vocabulary  257\n", "line 3");
    check_body_refused(HEAD "vocabulary 0257\n", "line 3");
}

Test(tokenizer_file, wrong_merge_lines_are_refused) {
    check_body_refused(HEAD "vocabulary 258\n", "line 4");
    check_body_refused(HEAD "vocabulary 65535\n1 2\n", "line 5");
    check_body_refused(HEAD "vocabulary 258\n97\n", "line 4");
    check_body_refused(HEAD "vocabulary 258\n97 98 99\n", "line 4");
    check_body_refused(HEAD "vocabulary 258\n97 x\n", "line 4");
    check_body_refused(HEAD "vocabulary 258\n097 98\n", "line 4");
    check_body_refused(HEAD "vocabulary 258\n97 98\r\n", "line 4");
    check_body_refused(HEAD "vocabulary 257\n97 98\n", "more than 0 merges");
}

Test(tokenizer_file, huge_files_are_refused_unread) {
    check_refused("cambium", 0, "empty");
    struct cam_tokenizer *tokenizer = NULL;
    char *zeros = calloc(1, CAM_TOKENIZER_MAX_FILE_BYTES + 1);
    cr_assert_eq(cam_tokenizer_load(zeros, CAM_TOKENIZER_MAX_FILE_BYTES + 1, &tokenizer),
                 CAM_ERR_DATA);
    cr_assert_not_null(strstr(cam_message(), "exceed"));
    free(zeros);
}
