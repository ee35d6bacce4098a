/* Every address is brought to 16 bytes (IPv4 as ::ffff:a.b.c.d) and held against blocks of the IANA
 * special-purpose registries (RFC 6890 and its updates). */
#include "feed/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const refused_blocks[] = {
    "0.0.0.0/8",     "10.0.0.0/8",      "100.64.0.0/10",  "127.0.0.0/8",    "169.254.0.0/16",
    "172.16.0.0/12", "192.0.0.0/24",    "192.0.2.0/24",   "192.88.99.0/24", "192.168.0.0/16",
    "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4",    "240.0.0.0/4",
    "2001::/23",     /* protocol assignments, Teredo, ORCHID */
    "2001:db8::/32", /* documentation */
    "2002::/16",     /* 6to4 */
    "3fff::/20",     /* documentation */
};

/* IPv6 has one block of global unicast addresses; NAT64 (64:ff9b::/96), unique local, link-local,
 * multicast and the rest lie outside it. */
#define GLOBAL_UNICAST "2000::/3"

struct block {
    uint8_t bytes[16];
    unsigned n_bits;
};

static void map_ipv4(const void *ipv4, uint8_t bytes[16]) {
    memset(bytes, 0, 10);
    memset(bytes + 10, 0xFF, 2);
    memcpy(bytes + 12, ipv4, 4);
}

static int is_ipv4(const uint8_t bytes[16]) {
    static const uint8_t prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
    return memcmp(bytes, prefix, sizeof prefix) == 0;
}

/* 0 on success, -1 for what is neither IPv4 nor IPv6. */
static int to_bytes(const struct sockaddr *address, uint8_t bytes[16]) {
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        map_ipv4(&in.sin_addr, bytes);
        return 0;
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, address, sizeof in6);
        memcpy(bytes, &in6.sin6_addr, 16);
        return 0;
    }
    return -1;
}

/* "ADDRESS" or "ADDRESS/BITS"; -1 if it is neither. */
static int parse_block(const char *text, struct block *block) {
    char address[64];
    const char *slash = strchr(text, '/');
    size_t n = slash ? (size_t)(slash - text) : strlen(text);
    if (n >= sizeof address)
        return -1;
    memcpy(address, text, n);
    address[n] = '\0';
    uint8_t raw[16];
    unsigned most = 128, base = 0;
    if (inet_pton(AF_INET, address, raw) == 1) {
        map_ipv4(raw, block->bytes);
        most = 32;
        base = 96;
    } else if (inet_pton(AF_INET6, address, raw) == 1) {
        memcpy(block->bytes, raw, 16);
    } else {
        return -1;
    }
    unsigned long bits = most;
    if (slash) {
        char *end;
        bits = strtoul(slash + 1, &end, 10);
        if (slash[1] < '0' || slash[1] > '9' || *end || bits > most)
            return -1;
    }
    block->n_bits = base + (unsigned)bits;
    return 0;
}

static int in_block(const uint8_t bytes[16], const struct block *block) {
    unsigned whole = block->n_bits / 8, rest = block->n_bits % 8;
    if (memcmp(bytes, block->bytes, whole) != 0)
        return 0;
    return rest == 0 || ((bytes[whole] ^ block->bytes[whole]) >> (8 - rest)) == 0;
}

int cam_address_is_public(const struct sockaddr *address) {
    uint8_t bytes[16];
    struct block block;
    if (to_bytes(address, bytes) != 0)
        return 0;
    if (!is_ipv4(bytes) && (parse_block(GLOBAL_UNICAST, &block) != 0 || !in_block(bytes, &block)))
        return 0;
    for (size_t i = 0; i < sizeof refused_blocks / sizeof *refused_blocks; i++)
        if (parse_block(refused_blocks[i], &block) != 0 || in_block(bytes, &block))
            return 0;
    return 1;
}

int cam_address_is_allowed(const struct sockaddr *address, const char *host,
                           const char *const *allow) {
    uint8_t bytes[16];
    struct block block;
    if (!allow || to_bytes(address, bytes) != 0)
        return 0;
    for (; *allow; allow++) {
        if (parse_block(*allow, &block) == 0) {
            if (in_block(bytes, &block))
                return 1;
        } else if (host && strcasecmp(*allow, host) == 0) {
            return 1;
        }
    }
    return 0;
}

char *cam_address_text(const struct sockaddr *address, char *out, size_t out_bytes) {
    uint8_t bytes[16];
    if (to_bytes(address, bytes) != 0 ||
        !inet_ntop(is_ipv4(bytes) ? AF_INET : AF_INET6, is_ipv4(bytes) ? bytes + 12 : bytes, out,
                   (socklen_t)out_bytes))
        snprintf(out, out_bytes, "an address that is not internet");
    return out;
}
