/* What the lifelong benchmark computes, on numbers worked out by hand. */
#include "bench/lifelong.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static void give(const struct cam_document_sink *sink, const char *domain, const char *text) {
    struct cam_document d = {.domain = domain, .text = text, .text_bytes = strlen(text)};
    cr_assert_eq(sink->document(sink->context, &d), CAM_OK);
}

Test(lifelong, means_of_the_matrix) {
    static struct cam_lifelong_result x = {.n_domains = 3};
    const double r[4][3] = {{8, 7, 6}, {2, 5, 6}, {3, 1, 4}, {2.5, 2, 1.5}};
    for (size_t i = 0; i < 4; i++)
        memcpy(x.r[i], r[i], sizeof r[i]);
    cam_lifelong_measure(&x);
    cr_expect_float_eq(x.final_bpb, 2, 1e-12);
    cr_expect_float_eq(x.learned_bpb, 1.5, 1e-12);
    cr_expect_float_eq(x.forgetting, (0.5 + 1) / 2, 1e-12);
    cr_expect_float_eq(x.bwt, (0.5 + 1) / 2, 1e-12);
    cr_expect_float_eq(x.fwt, ((5 - 7) + (4 - 6)) / 2.0, 1e-12);
}

Test(lifelong, forgetting_is_from_the_best_and_bwt_from_the_own_stage) {
    static struct cam_lifelong_result x = {.n_domains = 3};
    const double r[4][3] = {{8, 8, 8}, {3, 8, 8}, {2, 4, 8}, {5, 6, 3}};
    for (size_t i = 0; i < 4; i++)
        memcpy(x.r[i], r[i], sizeof r[i]);
    cam_lifelong_measure(&x);
    cr_expect_float_eq(x.forgetting, (3 + 2) / 2.0, 1e-12); /* 5 - 2, 6 - 4 */
    cr_expect_float_eq(x.bwt, (2 + 2) / 2.0, 1e-12);        /* 5 - 3, 6 - 4 */
}

Test(lifelong, without_stages_there_is_no_forgetting) {
    static struct cam_lifelong_result x = {.n_domains = 2};
    const double r[3][2] = {{8, 8}, {NAN, NAN}, {2, 3}};
    for (size_t i = 0; i < 3; i++)
        memcpy(x.r[i], r[i], sizeof r[i]);
    cam_lifelong_measure(&x);
    cr_expect_float_eq(x.final_bpb, 2.5, 1e-12);
    cr_expect(isnan(x.forgetting) && isnan(x.bwt) && isnan(x.fwt));
}

Test(lifelong, a_budget_takes_every_kth_document_and_keeps_the_order) {
    struct cam_lifelong_stream stream = {0};
    struct cam_document_sink sink = cam_lifelong_sink(&stream);
    char text[11] = "0000000000";
    for (int i = 0; i < 9; i++) { /* 90 bytes of a, 30 of b, mixed */
        text[0] = (char)('0' + i);
        give(&sink, "a", text);
        if (i % 3 == 0)
            give(&sink, "b", text);
    }
    cam_lifelong_budget(&stream, 45); /* a: every second of nine is 50 bytes, every third 30 */
    char kept[64] = "";
    for (size_t i = 0; i < stream.n_documents; i++)
        snprintf(kept + strlen(kept), sizeof kept - strlen(kept), "%s%c ",
                 stream.domains[stream.documents[i].i_domain], stream.documents[i].text[0]);
    cr_expect_str_eq(kept, "a0 b0 a3 b3 a6 b6 ");
    cam_lifelong_stream_release(&stream);
}

Test(lifelong, no_budget_keeps_everything) {
    struct cam_lifelong_stream stream = {0};
    struct cam_document_sink sink = cam_lifelong_sink(&stream);
    give(&sink, "a", "one");
    give(&sink, "a", "two");
    cam_lifelong_budget(&stream, 0);
    cr_expect_eq(stream.n_documents, 2);
    cam_lifelong_stream_release(&stream);
}

Test(lifelong, probes_are_capped_by_whole_documents) {
    static char big[CAM_LIFELONG_PROBE_BYTES + 2], half[CAM_LIFELONG_PROBE_BYTES / 2 + 1];
    struct cam_lifelong_stream stream = {0};
    struct cam_document_sink sink = cam_lifelong_sink(&stream);
    memset(big, 'x', sizeof big - 1);
    memset(half, 'y', sizeof half - 1);
    give(&sink, "a", big); /* alone past the cap: a domain keeps at least one */
    give(&sink, "a", "z");
    give(&sink, "b", half);
    give(&sink, "b", half);
    give(&sink, "b", "z");
    cam_lifelong_cap_probes(&stream);
    cr_expect_eq(stream.n_documents, 3);
    cam_lifelong_stream_release(&stream);
}

Test(lifelong, a_document_without_domain_is_refused) {
    struct cam_lifelong_stream stream = {0};
    struct cam_document_sink sink = cam_lifelong_sink(&stream);
    struct cam_document d = {.text = "text", .text_bytes = 4};
    cr_expect_eq(sink.document(sink.context, &d), CAM_ERR_DATA);
    cr_expect(strstr(cam_message(), "domain"));
    cam_lifelong_stream_release(&stream);
}

Test(lifelong, every_policy_is_an_arm) {
    const struct cam_lifelong_arm *arm;
    cr_expect_eq(cam_lifelong_arm_find("naive", &arm), CAM_OK);
    cr_expect_eq(cam_lifelong_arm_find("lifelong", &arm), CAM_OK);
    cr_expect_str_eq(arm->policy, "lifelong");
    cr_expect_eq(cam_lifelong_arm_find("nonsense", &arm), CAM_ERR_USAGE);
    cr_expect(strstr(cam_message(), "born-large"));
}
