/* Stands in for libFuzzer: calls the target with every file of the folders named, in any order, and
 * with each of them cut short, so that sizes are exact for AddressSanitizer. */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>

#define MAX_INPUT_BYTES (1 << 20)
#define CUTS            16

static void replay(const uint8_t *bytes, size_t n_bytes) {
    uint8_t *copy = malloc(n_bytes ? n_bytes : 1); /* no byte more than there is */
    if (!copy)
        exit(71);
    memcpy(copy, bytes, n_bytes);
    LLVMFuzzerTestOneInput(copy, n_bytes);
    free(copy);
}

static int replay_file(const char *path) {
    static uint8_t bytes[MAX_INPUT_BYTES];
    FILE *file = fopen(path, "rb");
    if (!file)
        return 0;
    size_t n = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    for (size_t i = 0; i <= CUTS; i++)
        replay(bytes, n * i / CUTS);
    return 1;
}

int main(int argc, char **argv) {
    int n_files = 0;
    for (int i = 1; i < argc; i++) {
        DIR *folder = opendir(argv[i]);
        for (const struct dirent *e; folder && (e = readdir(folder)) != NULL;) {
            char path[4096];
            snprintf(path, sizeof path, "%s/%s", argv[i], e->d_name);
            if (e->d_name[0] != '.')
                n_files += replay_file(path);
        }
        if (folder)
            closedir(folder);
    }
    printf("%d inputs\n", n_files);
    return n_files > 0 ? 0 : 1;
}
