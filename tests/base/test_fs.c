#include "base/fs.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];

static void setup(void) {
    strcpy(dir, "/tmp/cam-fs-XXXXXX");
    cr_assert(mkdtemp(dir) != NULL);
}

static void teardown(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    cr_assert(system(command) == 0);
}

TestSuite(fs, .init = setup, .fini = teardown);

static void path_of(const char *name, char path[CAM_PATH_BYTES]) {
    cr_assert(cam_fs_join(path, dir, name) == CAM_OK);
}

static void write_file(const char *name, const char *text, int commit) {
    struct cam_fs_file file;
    char path[CAM_PATH_BYTES];
    path_of(name, path);
    cr_assert(cam_fs_file_begin(&file, cam_fs_system(), path) == CAM_OK, "%s", cam_message());
    cr_assert(cam_fs_write_all(file.fs, file.fd, path, text, strlen(text)) == CAM_OK);
    if (commit)
        cr_assert(cam_fs_file_commit(&file) == CAM_OK, "%s", cam_message());
    else
        cam_fs_file_abandon(&file);
}

static void expect(const char *name, const char *text) {
    char path[CAM_PATH_BYTES], *bytes;
    size_t n;
    path_of(name, path);
    cr_assert(cam_fs_read_file(cam_fs_system(), path, 100, &bytes, &n) == CAM_OK, "%s",
              cam_message());
    cr_assert(n == strlen(text) && strcmp(bytes, text) == 0);
    free(bytes);
}

static enum cam_status add_name(void *context, const char *name) {
    strcat(strcat(context, name), " ");
    return CAM_OK;
}

Test(fs, file_appears_when_committed_and_not_when_abandoned) {
    char names[200] = "";
    write_file("a", "one", 1);
    write_file("a", "two, abandoned", 0);
    expect("a", "one");
    write_file("a", "three", 1);
    expect("a", "three");
    write_file("c", "", 1);
    write_file("b", "x", 1);
    cr_assert(cam_fs_each_entry(dir, add_name, names) == CAM_OK);
    cr_assert(strcmp(names, "a b c ") == 0, "sorted, nothing temporary left: %s", names);
}

Test(fs, S06_temporary_that_is_a_link_is_refused) {
    struct cam_fs_file file;
    char path[CAM_PATH_BYTES], link_path[CAM_PATH_BYTES];
    path_of("a", path);
    path_of("a.tmp", link_path);
    cr_assert(symlink("/etc/passwd", link_path) == 0);
    cr_assert(cam_fs_file_begin(&file, cam_fs_system(), path) == CAM_ERR_PERMISSION);
}

Test(fs, reading_has_limits_and_names_the_file) {
    char path[CAM_PATH_BYTES], *bytes = NULL;
    size_t n;
    write_file("a", "12345", 1);
    path_of("a", path);
    cr_assert(cam_fs_read_file(cam_fs_system(), path, 4, &bytes, &n) == CAM_ERR_DATA);
    cr_assert(strstr(cam_message(), path) && strstr(cam_message(), "4") && bytes == NULL);
    path_of("absent", path);
    cr_assert(cam_fs_read_file(cam_fs_system(), path, 4, &bytes, &n) == CAM_ERR_NOINPUT);
    cr_assert(cam_fs_read_file(cam_fs_system(), dir, 4, &bytes, &n) == CAM_ERR_DATA);
    cr_assert(cam_fs_read_file(cam_fs_system(), "/dev/zero", 4, &bytes, &n) == CAM_ERR_DATA);
}

Test(fs, folders) {
    char path[CAM_PATH_BYTES], deep[CAM_PATH_BYTES], longest[CAM_PATH_BYTES];
    path_of("d", path);
    cr_assert(cam_fs_make_dir(path) == CAM_OK);
    cr_assert(cam_fs_make_dir(path) == CAM_OK);
    write_file("file", "x", 1);
    path_of("file", path);
    cr_assert(cam_fs_make_dir(path) == CAM_ERR_CANTCREATE);
    path_of("no/such", deep);
    cr_assert(cam_fs_make_dir(deep) == CAM_ERR_CANTCREATE);
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    cr_assert(cam_fs_join(path, dir, longest) == CAM_ERR_DATA);
}
