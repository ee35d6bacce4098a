/* train-tokenizer VOCABULARY < FEED : trains a tokenizer on the documents of a feed (any format the
 * program reads) and writes its file to stdout.  Every domain weighs the same, however large.
 *
 * A development program, called by tools/build-tokenizer; users have `init --tokenizer-from`. */
#include "base/buffer.h"
#include "feed/feed.h"
#include "text/tokenizer.h"
#include "text/tokenizer_train.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DOMAINS    64
#define MAX_FEED_BYTES ((size_t)256 << 20)

/* The documents of one domain, each followed by a NUL byte, which cleaned text never holds. */
struct domain {
    char name[64];
    struct cam_buffer text;
};

struct domains {
    struct domain domain[MAX_DOMAINS];
    size_t n_domains;
};

static struct domain *domain_called(struct domains *domains, const char *name) {
    for (size_t i = 0; i < domains->n_domains; i++)
        if (strcmp(domains->domain[i].name, name) == 0)
            return &domains->domain[i];
    if (domains->n_domains == MAX_DOMAINS || strlen(name) >= sizeof domains->domain[0].name)
        return NULL;
    struct domain *made = &domains->domain[domains->n_domains++];
    strcpy(made->name, name);
    cam_buffer_init(&made->text, MAX_FEED_BYTES);
    return made;
}

static int keep_document(void *context, const struct cam_document *document) {
    struct domain *domain = domain_called(context, document->domain ? document->domain : "");
    if (!domain)
        return (int)cam_fail(CAM_ERR_DATA, "more than %d domains, or a name too long", MAX_DOMAINS);
    CAM_TRY(cam_buffer_append(&domain->text, document->text, document->text_bytes));
    return (int)cam_buffer_append(&domain->text, "", 1);
}

static int refuse_entry(void *context, const char *where, const char *why) {
    (void)context;
    return (int)cam_fail(CAM_ERR_DATA, "%s: %s", where, why);
}

static enum cam_status read_stdin(struct cam_buffer *content) {
    char block[1 << 16];
    size_t n;
    while ((n = fread(block, 1, sizeof block, stdin)) > 0)
        CAM_TRY(cam_buffer_append(content, block, n));
    return ferror(stdin) ? cam_fail(CAM_ERR_IO, "stdin cannot be read") : CAM_OK;
}

static enum cam_status add_domain(struct cam_tokenizer_trainer *trainer,
                                  const struct domain *domain, uint32_t weight) {
    for (size_t at = 0; at < domain->text.size;) {
        size_t n = strlen(domain->text.data + at);
        CAM_TRY(cam_tokenizer_trainer_add(trainer, domain->text.data + at, n, weight));
        at += n + 1;
    }
    return CAM_OK;
}

static enum cam_status train(size_t vocabulary, struct domains *domains, struct cam_buffer *file) {
    struct cam_feed_limits limits;
    struct cam_buffer feed;
    struct cam_tokenizer_trainer *trainer = NULL;
    size_t largest = 0;
    enum cam_status status;
    cam_feed_limits_init(&limits);
    cam_buffer_init(&feed, MAX_FEED_BYTES);
    CAM_TRY_OUT(read_stdin(&feed));
    const struct cam_document_sink sink = {keep_document, refuse_entry, domains};
    CAM_TRY_OUT(cam_feed_read(feed.data, feed.size, NULL, &limits, &sink, NULL));
    for (size_t i = 0; i < domains->n_domains; i++)
        if (domains->domain[i].text.size > largest)
            largest = domains->domain[i].text.size;
    CAM_TRY_OUT(cam_tokenizer_trainer_new(&trainer));
    for (size_t i = 0; i < domains->n_domains; i++)
        CAM_TRY_OUT(add_domain(trainer, &domains->domain[i],
                               (uint32_t)(largest * 1000 / domains->domain[i].text.size)));
    CAM_TRY_OUT(cam_tokenizer_trainer_finish(trainer, vocabulary, file));
out:
    cam_tokenizer_trainer_free(trainer);
    cam_buffer_release(&feed);
    return status;
}

int main(int argc, char **argv) {
    static struct domains domains;
    struct cam_buffer file;
    if (argc != 2) {
        fputs("usage: train-tokenizer VOCABULARY < FEED > FILE\n", stderr);
        return cam_status_exit_code(CAM_ERR_USAGE);
    }
    cam_buffer_init(&file, CAM_TOKENIZER_MAX_FILE_BYTES);
    enum cam_status status = train(strtoul(argv[1], NULL, 10), &domains, &file);
    if (status != CAM_OK)
        fprintf(stderr, "train-tokenizer: %s\n", cam_message());
    else if (fwrite(file.data, 1, file.size, stdout) != file.size || fflush(stdout) != 0)
        status = CAM_ERR_IO;
    for (size_t i = 0; i < domains.n_domains; i++)
        cam_buffer_release(&domains.domain[i].text);
    cam_buffer_release(&file);
    return cam_status_exit_code(status);
}
