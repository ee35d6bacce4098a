/* train-tokenizer VOCABULARY FILE... : trains a tokenizer on sample files and writes it to stdout.
 *
 * Documents inside a file are separated by NUL bytes.  Every file weighs the same, however large.
 * A development program, called by tools/build-tokenizer; users have `init --tokenizer-from`. */
#include "base/buffer.h"
#include "text/tokenizer.h"
#include "text/tokenizer_train.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILES      64
#define MAX_FILE_BYTES ((size_t)256 << 20)

static enum cam_status read_file(const char *path, struct cam_buffer *content) {
    char block[1 << 16];
    size_t n;
    FILE *file = fopen(path, "rb");
    if (!file)
        return cam_fail(CAM_ERR_NOINPUT, "%s cannot be opened", path);
    enum cam_status status = CAM_OK;
    while (status == CAM_OK && (n = fread(block, 1, sizeof block, file)) > 0)
        status = cam_buffer_append(content, block, n);
    if (status == CAM_OK && ferror(file))
        status = cam_fail(CAM_ERR_IO, "%s cannot be read", path);
    fclose(file);
    return status;
}

static enum cam_status add_documents(struct cam_tokenizer_trainer *trainer,
                                     const struct cam_buffer *sample, uint32_t weight) {
    for (size_t at = 0; at < sample->size;) {
        size_t n = strlen(sample->data + at); /* a buffer ends with a NUL */
        CAM_TRY(cam_tokenizer_trainer_add(trainer, sample->data + at, n, weight));
        at += n + 1;
    }
    return CAM_OK;
}

static enum cam_status train(size_t vocabulary, char **paths, int n_paths,
                             struct cam_buffer *file) {
    struct cam_buffer samples[MAX_FILES] = {0};
    struct cam_tokenizer_trainer *trainer = NULL;
    size_t largest = 0;
    enum cam_status status;
    for (int i = 0; i < n_paths; i++) {
        cam_buffer_init(&samples[i], MAX_FILE_BYTES);
        CAM_TRY_OUT(read_file(paths[i], &samples[i]));
        if (samples[i].size == 0)
            CAM_TRY_OUT(cam_fail(CAM_ERR_DATA, "%s is empty", paths[i]));
        if (samples[i].size > largest)
            largest = samples[i].size;
    }
    CAM_TRY_OUT(cam_tokenizer_trainer_new(&trainer));
    for (int i = 0; i < n_paths; i++)
        CAM_TRY_OUT(
            add_documents(trainer, &samples[i], (uint32_t)(1 + largest * 1000 / samples[i].size)));
    CAM_TRY_OUT(cam_tokenizer_trainer_finish(trainer, vocabulary, file));
out:
    cam_tokenizer_trainer_free(trainer);
    for (int i = 0; i < n_paths; i++)
        cam_buffer_release(&samples[i]);
    return status;
}

int main(int argc, char **argv) {
    if (argc < 3 || argc - 2 > MAX_FILES) {
        fprintf(stderr, "usage: train-tokenizer VOCABULARY FILE... (at most %d)\n", MAX_FILES);
        return cam_status_exit_code(CAM_ERR_USAGE);
    }
    struct cam_buffer file;
    cam_buffer_init(&file, CAM_TOKENIZER_MAX_FILE_BYTES);
    enum cam_status status = train(strtoul(argv[1], NULL, 10), argv + 2, argc - 2, &file);
    if (status != CAM_OK)
        fprintf(stderr, "train-tokenizer: %s\n", cam_message());
    else if (fwrite(file.data, 1, file.size, stdout) != file.size || fflush(stdout) != 0)
        status = CAM_ERR_IO;
    cam_buffer_release(&file);
    return cam_status_exit_code(status);
}
