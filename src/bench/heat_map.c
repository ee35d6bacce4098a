/* R as pictures: a panel an arm, a row a stage, a column a domain.  A cell shows the score; its
 * shade how far that is above the best any arm of the picture reached on the domain, so that
 * forgetting shows as a column that darkens downwards. */
#include "base/buffer.h"
#include "base/fs.h"
#include "bench/lifelong.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define CELL_WIDTH  46
#define CELL_HEIGHT 20
#define LEFT        112 /* room for the names of stages */
#define TOP         96  /* room for the title and slanted names of domains */
#define GAP         28
#define LEGEND      44
#define PER_ROW     3
#define DARKEST     1.5 /* bits per byte above the best */
#define MAX_BYTES   ((size_t)16 << 20)

struct panel {
    const char *arm;
    size_t n_seeds;
    struct cam_lifelong_result mean; /* of R alone, then measured */
};

struct map {
    const struct cam_lifelong_stream *stream;
    struct cam_buffer *out;
    double best[CAM_LIFELONG_DOMAINS];
};

static enum cam_status escaped(struct cam_buffer *out, const char *text) {
    for (; *text; text++) {
        const char *entity = *text == '&'   ? "&amp;"
                             : *text == '<' ? "&lt;"
                             : *text == '>' ? "&gt;"
                             : *text == '"' ? "&quot;"
                                            : NULL;
        CAM_TRY(entity ? cam_buffer_append_text(out, entity) : cam_buffer_append(out, text, 1));
    }
    return CAM_OK;
}

static enum cam_status text_at(struct cam_buffer *out, double x, double y, const char *attributes,
                               const char *text) {
    CAM_TRY(cam_buffer_append_format(out, "<text x=\"%.0f\" y=\"%.0f\" %s>", x, y, attributes));
    CAM_TRY(escaped(out, text));
    return cam_buffer_append_text(out, "</text>\n");
}

/* White at the best, towards dark red at DARKEST above it. */
static void shade(double above, char fill[32], int *dark) {
    double s = above / DARKEST;
    s = s < 0 ? 0 : s > 1 ? 1 : s;
    *dark = s > 0.55;
    snprintf(fill, 32, "rgb(%d,%d,%d)", (int)(255 - 110 * s), (int)(250 - 225 * s),
             (int)(240 - 200 * s));
}

static enum cam_status draw_cell(const struct map *m, double x, double y, double value, double best,
                                 int own) {
    char fill[32], attributes[96], number[16];
    int dark;
    if (isnan(value))
        return CAM_OK;
    shade(value - best, fill, &dark);
    snprintf(number, sizeof number, "%.2f", value);
    snprintf(attributes, sizeof attributes, "text-anchor=\"middle\" fill=\"%s\"",
             dark ? "white" : "black");
    CAM_TRY(cam_buffer_append_format(
        m->out,
        "<rect x=\"%.0f\" y=\"%.0f\" width=\"%d\" height=\"%d\" fill=\"%s\" stroke=\"%s\"/>\n", x,
        y, CELL_WIDTH - 2, CELL_HEIGHT - 2, fill, own ? "black" : "none"));
    return text_at(m->out, x + CELL_WIDTH / 2.0 - 1, y + CELL_HEIGHT - 6.0, attributes, number);
}

static enum cam_status draw_panel(const struct map *m, const struct panel *panel, double x,
                                  double y) {
    const struct cam_lifelong_result *r = &panel->mean;
    char title[160], attributes[96];
    snprintf(title, sizeof title, "%s: final %.3f%s", panel->arm, r->final_bpb,
             panel->n_seeds > 1 ? " (mean of seeds)" : "");
    CAM_TRY(text_at(m->out, x, y + 12, "font-weight=\"bold\"", title));
    for (size_t j = 0; j < r->n_domains; j++) {
        double at = x + LEFT + (double)j * CELL_WIDTH + 14;
        snprintf(attributes, sizeof attributes, "transform=\"rotate(-45 %.0f %.0f)\"", at,
                 y + TOP - 6);
        CAM_TRY(text_at(m->out, at, y + TOP - 6, attributes, m->stream->domains[j]));
    }
    for (size_t i = 0; i <= r->n_domains; i++) {
        double line = y + TOP + (double)i * CELL_HEIGHT;
        CAM_TRY(text_at(m->out, x + LEFT - 8, line + CELL_HEIGHT - 6, "text-anchor=\"end\"",
                        i ? m->stream->domains[i - 1] : "(before)"));
        for (size_t j = 0; j < r->n_domains; j++)
            CAM_TRY(draw_cell(m, x + LEFT + (double)j * CELL_WIDTH, line, r->r[i][j], m->best[j],
                              i == j + 1));
    }
    return CAM_OK;
}

/* Sums R of results of one arm that follow each other; returns how many there were. */
static size_t gather(const struct cam_lifelong_result *results, size_t n, struct panel *panel) {
    *panel = (struct panel){.arm = results[0].arm->name, .mean = results[0]};
    size_t count = 1;
    for (; count < n && results[count].arm == results[0].arm; count++)
        for (size_t i = 0; i <= results[0].n_domains; i++)
            for (size_t j = 0; j < results[0].n_domains; j++)
                panel->mean.r[i][j] += results[count].r[i][j];
    for (size_t i = 0; i <= results[0].n_domains; i++)
        for (size_t j = 0; j < results[0].n_domains; j++)
            panel->mean.r[i][j] /= (double)count;
    panel->n_seeds = count;
    cam_lifelong_measure(&panel->mean);
    return count;
}

static void find_best(struct map *m, const struct cam_lifelong_result *results, size_t n) {
    for (size_t j = 0; j < m->stream->n_domains; j++) {
        m->best[j] = INFINITY;
        for (size_t x = 0; x < n; x++)
            for (size_t i = 0; i <= m->stream->n_domains; i++)
                m->best[j] = fmin(m->best[j], results[x].r[i][j]); /* fmin skips NaN */
    }
}

static enum cam_status draw(struct map *m, const struct cam_lifelong_result *results, size_t n) {
    size_t n_domains = m->stream->n_domains, n_panels = 0;
    double width = LEFT + (double)n_domains * CELL_WIDTH + GAP;
    double height = TOP + (double)(n_domains + 1) * CELL_HEIGHT + GAP;
    for (size_t i = 0; i < n; i++)
        n_panels += i == 0 || results[i].arm != results[i - 1].arm;
    size_t columns = n_panels < PER_ROW ? n_panels : PER_ROW;
    size_t lines = (n_panels + PER_ROW - 1) / PER_ROW;
    CAM_TRY(cam_buffer_append_format(
        m->out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\""
        " font-family=\"sans-serif\" font-size=\"11\">\n"
        "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
        (double)columns * width + GAP, (double)lines * height + LEGEND + GAP));
    CAM_TRY(text_at(m->out, GAP, 20, "font-size=\"13\"",
                    "Bits per byte of each domain (column) after each stage (row)"));
    CAM_TRY(text_at(m->out, GAP, 36, "fill=\"#555\"",
                    "Shade: above the best any arm reached on the domain, up to 1.5. "
                    "Framed: the domain just learned."));
    struct panel panel;
    for (size_t i = 0, at = 0; i < n; at++) {
        i += gather(results + i, n - i, &panel);
        CAM_TRY(draw_panel(m, &panel, GAP + (double)(at % PER_ROW) * width,
                           LEGEND + GAP / 2.0 + (double)(at / PER_ROW) * height));
    }
    return cam_buffer_append_text(m->out, "</svg>\n");
}

enum cam_status cam_lifelong_heat_map(const struct cam_lifelong_stream *stream,
                                      const struct cam_lifelong_result *results, size_t n_results,
                                      const char *path) {
    struct cam_buffer out;
    struct cam_fs_file file = {0};
    struct map m = {.stream = stream, .out = &out};
    cam_buffer_init(&out, MAX_BYTES);
    find_best(&m, results, n_results);
    enum cam_status status = draw(&m, results, n_results);
    if (status == CAM_OK)
        status = cam_fs_file_begin(&file, cam_fs_system(), path);
    if (status == CAM_OK) {
        status = cam_fs_write_all(file.fs, file.fd, path, out.data, out.size);
        if (status == CAM_OK)
            status = cam_fs_file_commit(&file);
        else
            cam_fs_file_abandon(&file);
    }
    cam_buffer_release(&out);
    return status;
}
