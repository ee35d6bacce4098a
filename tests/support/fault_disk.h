/* fault_disk.h - what is on the disk after the power was cut.
 *
 * From a recording (fault_io.h): of the first K operations, what a sync made durable is there; of
 * the rest - contents and names apart, as POSIX allows - nothing, everything, or a part drawn by
 * chance, a write torn now and then in its middle. */
#ifndef CAM_TESTS_FAULT_DISK_H
#define CAM_TESTS_FAULT_DISK_H

#include "support/fault_io.h"

#define FAULT_LOSE_ALL  0 /* all that was not synced is lost */
#define FAULT_LOSE_NONE 1 /* the process died, the machine did not */
                          /* 2, 3 ...: seeds of a part that is lost */

/* Writes the tree as it is after K operations into the empty folder DIR, which stands for the
 * log's root.  The folders are those of now: a recording is not to make any. */
void fault_disk_after(const struct fault_log *log, size_t k, unsigned loss, const char *dir);

#endif
