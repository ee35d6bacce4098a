/* fetch_pool.h - threads that fetch, so that a slow server holds up nobody but itself.
 *
 * Threads are started as they are needed and end with the pool.  One thread submits and takes. */
#ifndef CAM_RUN_FETCH_POOL_H
#define CAM_RUN_FETCH_POOL_H

#include "base/status.h"
#include "run/feed_poll.h"

#include <stddef.h>

#define CAM_FETCH_POOL_MAX 64

struct cam_fetch_pool;

CAM_MUST_USE enum cam_status cam_fetch_pool_new(struct cam_fetch_pool **pool);
/* Waits for the fetches under way (the caller has set their stop flag, or waits long) and frees
 * polls that nobody took; accepts NULL. */
void cam_fetch_pool_free(struct cam_fetch_pool *pool);

/* Has POLL fetched; the pool owns it until it is taken.  At most CAM_FETCH_POOL_MAX at a time.  On
 * failure the caller keeps it. */
CAM_MUST_USE enum cam_status cam_fetch_pool_submit(struct cam_fetch_pool *pool,
                                                   struct cam_feed_poll *poll);
/* A poll whose fetch has ended, or NULL if there is none within WAIT_MS or after a wake. */
struct cam_feed_poll *cam_fetch_pool_take(struct cam_fetch_pool *pool, long wait_ms);
/* Submitted and not taken. */
size_t cam_fetch_pool_busy(struct cam_fetch_pool *pool);
/* Lets a take return now; any thread. */
void cam_fetch_pool_wake(struct cam_fetch_pool *pool);

#endif
