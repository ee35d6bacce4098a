#include "cli/bench_face.h"

#include <string.h>

static const char help[] =
    "usage: cambium bench peer [--experts N,N...] [--routing uniform|trained|both] [--growth]\n"
    "                          [--width 256] [--heads 8] [--top-k 16] [--key-width 128]\n"
    "                          [--tokens 2048] [--optimizer adamw|muon] [--rows row|adam]\n"
    "                          [--bf16-rows] [COMMON]\n"
    "       cambium bench train [--preset P] [--set KEY=VALUE]... [--ff SLOTS]... [--experts N]\n"
    "                          [--vocabulary N] [--vs-plain] [COMMON]\n"
    "       cambium bench kernels [--experts N] [--width 256] [--tokens 2048] [COMMON]\n"
    "       cambium bench ingest [FILE]... [--documents 4000] [--bytes 4096] [--repeat 3] "
    "[--json]\n"
    "       cambium bench snapshot [--experts N,N...] [--width N] [--picks N] [--dir DIR] "
    "[--json]\n"
    "       cambium bench lifelong STREAM --probe HELDOUT [--arms A,B,C] [--budget BYTES]\n"
    "                          [--seeds N] [--preset P] [--set KEY=VALUE]... [--dir DIR] [--keep]\n"
    "                          [--jobs N] [--svg FILE] [--json]\n"
    "\n"
    "COMMON: [--threads N] [--repeat N] [--bf16] [--vs-torch] [--python PATH] [--json]; kernels\n"
    "knows no PyTorch.\n"
    "\n"
    "peer     one PEER layer: tokens a second forward and in a training step, where the time "
    "goes,\n"
    "         share of what the machine can do meanwhile, peak memory\n"
    "train    the training step of a whole model; default: width 256, 4 blocks, 4 heads, 256 "
    "bytes\n"
    "         of vocabulary, 8 sequences of 256 tokens, AdamW\n"
    "kernels  products, top-k, gathers, row optimiser, softmax, each beside what binds it\n"
    "\n"
    "  --experts N       experts in the pool, a square; 64k and 1M are 65536 and 1048576.  peer:\n"
    "                    a list (default 64k,1M)\n"
    "  --routing R       uniform: random keys and inputs (default); trained: after some steps on\n"
    "                    clusters of uneven size\n"
    "  --growth          peer: growing the pool by a tenth, checked\n"
    "  --optimizer O     peer: of query and sub-keys (default adamw)\n"
    "  --rows R          peer: of expert rows: row (default) or adam, as peer.optimizer\n"
    "  --bf16-rows       peer: in bfloat16 (peer.bf16)\n"
    "  --preset P        train: nano, small or base as `cambium init` would make it\n"
    "  --set KEY=VALUE   train: any setting of the model\n"
    "  --ff SLOTS        train: dense, or one block with peer or dense+peer among dense ones, or "
    "a\n"
    "                    comma-separated list of all blocks; repeated: one row each\n"
    "  --vocabulary N    train: tokens (default 256; 4096 with --preset)\n"
    "  --bf16            our dense products in bfloat16 (model.bf16)\n"
    "  --threads N       of ours, PyTorch and the plain trainer (default: all cores)\n"
    "  --repeat N        measurements, of which medians are reported\n"
    "  --vs-torch        also PyTorch's version of the step, in turn\n"
    "  --python PATH     the same with this Python (default /usr/bin/python3)\n"
    "  --vs-plain        train: also plain C loops with OpenMP\n"
    "\n"
    "ingest   each FILE, or N made-up documents, into a journal of its own below $TMPDIR on one\n"
    "         core: MB/s of reading alone and of journalling; --bytes of text in each\n"
    "\n"
    "lifelong ways to learn (arms) read one stream of domains with the same trunk and schedule;\n"
    "         after each all probes are scored.  NDJSON with a domain in every document\n"
    "\n"
    "  --probe FILE      held-out text, at most 64 KiB a domain is used\n"
    "  --arms A,B,C      joint, naive, dense-naive, dense-replay, fixed, born-large, grow-only,\n"
    "                    lifelong, or a policy (default without dense-naive and born-large)\n"
    "  --budget BYTES    of each domain, by taking every k-th document (default: all)\n"
    "  --seeds N         runs of each arm (default 1)\n"
    "  --preset, --set   the model (default: nano with peer.subkeys=128: 16,384 experts)\n"
    "  --dir DIR         workspaces and results (default bench-lifelong); killed runs go on\n"
    "  --keep            keep the workspaces of finished runs\n"
    "  --jobs N          runs at a time, a thread each (default: all cores)\n"
    "  --svg FILE        scores as heat maps\n"
    "\n"
    "snapshot checkpoints of a pool, by rows touched; writes 10 GB to --dir and removes it\n"
    "\n"
    "Examples:\n"
    "  cambium bench peer --experts 1M --vs-torch\n"
    "  cambium bench lifelong stream.ndjson --probe heldout.ndjson\n"
    "\n"
    "See also: cambium help init\n";

static const struct {
    const char *name;
    enum cam_status (*run)(struct cam_cli *cli);
} parts[] = {
    {"peer", cam_bench_peer},         {"train", cam_bench_train},
    {"kernels", cam_bench_kernels},   {"ingest", cam_bench_ingest},
    {"lifelong", cam_bench_lifelong}, {"snapshot", cam_bench_snapshot},
};

static enum cam_status run(struct cam_cli *cli) {
    const char *name = cli->argc > 1 ? cli->argv[1] : "";
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strcmp(parts[i].name, name) == 0)
            return parts[i].run(cli);
    return cam_fail(CAM_ERR_USAGE,
                    "bench needs peer, train, kernels, ingest, lifelong or snapshot as its first "
                    "word; see: cambium help bench");
}

const struct cam_command cam_command_bench = {
    "bench", "Measure how fast this machine reads and trains, and how near that is to its limits.",
    help, run};
