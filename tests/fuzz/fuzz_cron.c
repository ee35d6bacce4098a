/* Schedules as people write them: what is accepted falls due after it was last due, and in order.
 */
#include "fuzz.h"
#include "store/schedule.h"

#define DAY_MS   INT64_C(86400000)
#define FIRST_MS INT64_C(1700000000000)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes) {
    struct cam_schedule_spec spec;
    char text[256];
    if (n_bytes < 2 || n_bytes - 2 >= sizeof text)
        return 0;
    memcpy(text, bytes + 2, n_bytes - 2);
    text[n_bytes - 2] = '\0';
    enum cam_status status = cam_schedule_parse(text, &spec);
    fuzz_expect(status == CAM_OK || status == CAM_ERR_CONFIG);
    if (status != CAM_OK)
        return 0;
    int64_t last = FIRST_MS + (bytes[0] | bytes[1] << 8) * (DAY_MS / 64);
    for (int i = 0; i < 4; i++) {
        int64_t next = cam_schedule_next_due(&spec, last, last);
        fuzz_expect(next > last);
        fuzz_expect((spec.unit == CAM_SCHEDULE_DOCUMENTS) <= (next == INT64_MAX));
        if (next == INT64_MAX)
            return 0;
        fuzz_expect(spec.unit != CAM_SCHEDULE_CRON || next % 60000 == 0);
        /* Slots that were slept over are one. */
        fuzz_expect(cam_schedule_next_due(&spec, last, next + DAY_MS / 2) <= next + DAY_MS / 2);
        last = next;
    }
    return 0;
}
