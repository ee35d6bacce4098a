/* Which addresses may be reached. */
#include "feed/address.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <string.h>

static struct sockaddr_storage address_of(const char *text) {
    struct sockaddr_storage storage = {0};
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
        memcpy(&storage, &in, sizeof in);
    else if (inet_pton(AF_INET6, text, &in6.sin6_addr) == 1)
        memcpy(&storage, &in6, sizeof in6);
    else
        cr_assert_fail("%s is no address", text);
    return storage;
}

static int is_public(const char *text) {
    struct sockaddr_storage storage = address_of(text);
    return cam_address_is_public((struct sockaddr *)&storage);
}

static int is_allowed(const char *text, const char *host, const char *const *allow) {
    struct sockaddr_storage storage = address_of(text);
    return cam_address_is_allowed((struct sockaddr *)&storage, host, allow);
}

Test(address, N06_what_is_not_public_is_refused) {
    static const char *const refused[] = {
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "100.127.255.255",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "192.0.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b::808:808",
        "64:ff9b:1::1",
        "100::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "2002:808:808::1",
        "3fff::1",
        "4000::1",
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        cr_assert_not(is_public(refused[i]), "%s", refused[i]);
}

Test(address, public_addresses_pass) {
    static const char *const passed[] = {
        "1.1.1.1",     "8.8.8.8",        "9.255.255.255",        "11.0.0.0",
        "100.63.0.1",  "100.128.0.1",    "126.255.255.255",      "128.0.0.1",
        "169.253.1.1", "172.15.255.255", "172.32.0.1",           "192.167.1.1",
        "192.169.1.1", "198.17.255.255", "198.20.0.1",           "223.255.255.255",
        "2600::1",     "2a00:1450::1",   "2606:4700:4700::1111", "::ffff:8.8.8.8",
        "2003::1",
    };
    for (size_t i = 0; i < sizeof passed / sizeof *passed; i++)
        cr_assert(is_public(passed[i]), "%s", passed[i]);
}

Test(address, N06_other_families_are_refused) {
    struct sockaddr other = {.sa_family = AF_UNIX};
    const char *const all[] = {"0.0.0.0/0", "::/0", NULL};
    cr_assert_not(cam_address_is_public(&other));
    cr_assert_not(cam_address_is_allowed(&other, "x", all));
}

Test(address, allow_lists) {
    const char *const allow[] = {"127.0.0.1", "10.1.0.0/16", "fd00::/8",   "feeds.intranet",
                                 "10.2.0.0/", "10.3.0.0/99", "10.4.0.0/x", NULL};
    cr_assert(is_allowed("127.0.0.1", "h", allow));
    cr_assert(is_allowed("::ffff:127.0.0.1", "h", allow));
    cr_assert_not(is_allowed("127.0.0.2", "h", allow));
    cr_assert(is_allowed("10.1.255.1", "h", allow));
    cr_assert_not(is_allowed("10.0.255.255", "h", allow));
    cr_assert_not(is_allowed("10.2.0.1", "h", allow));
    cr_assert_not(is_allowed("10.3.0.0", "h", allow));
    cr_assert_not(is_allowed("10.4.0.0", "h", allow));
    cr_assert(is_allowed("fd12::1", "h", allow));
    cr_assert_not(is_allowed("fc12::1", "h", allow));
    cr_assert(is_allowed("192.168.7.7", "Feeds.Intranet", allow));
    cr_assert_not(is_allowed("192.168.7.7", "feeds.intranet.evil.org", allow));
    cr_assert_not(is_allowed("127.0.0.1", "h", NULL));
}

Test(address, text) {
    char out[64];
    struct sockaddr_storage a = address_of("::ffff:10.0.0.1"), b = address_of("fe80::1");
    cr_assert_str_eq(cam_address_text((struct sockaddr *)&a, out, sizeof out), "10.0.0.1");
    cr_assert_str_eq(cam_address_text((struct sockaddr *)&b, out, sizeof out), "fe80::1");
}
