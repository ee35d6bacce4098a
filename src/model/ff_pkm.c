/* ff_pkm.c - product-key memory: values behind the router of the pool (ff_peer.h). */
#include "model/peer.h"

static enum cam_status create(const struct cam_ff_config *config, struct cam_params *params,
                              struct cam_ff **ff) {
    return cam_peer_create(config, &cam_ff_pkm, &cam_expert_value, params, ff);
}

const struct cam_ff_ops cam_ff_pkm = {.name = "pkm",
                                      .pool = 1,
                                      .reference = &cam_ff_pkm_reference,
                                      .create = create,
                                      .destroy = cam_peer_destroy,
                                      .forward = cam_peer_forward,
                                      .backward = cam_peer_backward,
                                      .update = cam_peer_update,
                                      .visit_state = cam_peer_visit_state,
                                      .flops = cam_peer_flops,
                                      .size = cam_peer_size};

const struct cam_ff_ops cam_ff_pkm_reference = {.name = "pkm",
                                                .pool = 1,
                                                .reference = &cam_ff_pkm_reference,
                                                .create = create,
                                                .destroy = cam_peer_destroy,
                                                .forward = cam_peer_reference_forward,
                                                .backward = cam_peer_reference_backward,
                                                .update = cam_peer_reference_update,
                                                .visit_state = cam_peer_visit_state,
                                                .flops = cam_peer_flops,
                                                .size = cam_peer_size};
