/* address.h - which network addresses a feed may make us talk to.
 *
 * A feed URL, and every redirect a server answers with, is outside data: it must not reach services
 * that trust whoever can connect to them (server-side request forgery).  Only
 * globally routable unicast addresses are public.  The check is made on the address a socket is
 * about to connect to, so neither names that change their answer nor odd spellings get around it.
 */
#ifndef CAM_FEED_ADDRESS_H
#define CAM_FEED_ADDRESS_H

#include <stddef.h>
#include <sys/socket.h>

/* Public: not private, loopback, link-local, shared (CGNAT), multicast, reserved, documentation,
 * benchmark, unspecified, nor an IPv6 form that embeds an IPv4 address (NAT64, 6to4, Teredo,
 * compatible).  An IPv4-mapped address counts as the IPv4 address. */
int cam_address_is_public(const struct sockaddr *address);

/* Whether an entry of ALLOW (ended by NULL; may be NULL) covers the address.  Entries: an address
 * ("127.0.0.1", "::1"), a block ("10.0.0.0/8", "fd00::/8") or the host name HOST that the
 * connection is for ("feeds.intranet", any address). */
int cam_address_is_allowed(const struct sockaddr *address, const char *host,
                           const char *const *allow);

/* Numeric form for messages, at most OUT_BYTES with the NUL (64 suffice).  Returns OUT. */
char *cam_address_text(const struct sockaddr *address, char *out, size_t out_bytes);

#endif
