/* What a manifest says that scoring does not use, but that belongs to the format. */
#ifndef SRI_OTHER_PARTS_H
#define SRI_OTHER_PARTS_H

#include "reader.h"

enum { MOST_CELLS = 4096, MOST_LAYERS = 1024, WIDEST = 1 << 20 };

/* What a graph answers where `valid` is false; every threshold is below it. */
#define INVALID_SCORE 3e38f

static void read_rates(struct reader *r) {
    uint32_t rates = value_of(r, 0, "", "rates", JSON_ARRAY);
    for (uint32_t at = rates + 1; !r->refused && at < r->json->nodes[rates].next; at = r->json->nodes[at].next) {
        exactly(r, at, "rates", "high k low n name");
        number_of(r, at, "rates", "high");
        number_of(r, at, "rates", "low");
        value_of(r, at, "rates", "name", JSON_TEXT);
        whole_of(r, value_of(r, at, "rates", "k", JSON_NUMBER), "rates", SIZE_MAX);
        check(r, whole_of(r, value_of(r, at, "rates", "n", JSON_NUMBER), "rates", SIZE_MAX) > 0, "rates", "of nothing");
    }
}

static void read_anchors(struct reader *r, const char *keys) {
    uint32_t anchors = value_of(r, 0, "", "anchors", JSON_OBJECT);
    exactly(r, anchors, "anchors", keys);
    value_of(r, anchors, "anchors", "provenance", JSON_OBJECT);
    check_hex(r, anchors, "anchors", "sha256");
}

/* A detector, which must be one that any language can run. */
static void read_detector(struct reader *r, uint32_t detector, const char *where) {
    exactly(r, detector, where, "config name tier");
    value_of(r, detector, where, "config", JSON_OBJECT);
    value_of(r, detector, where, "name", JSON_TEXT);
    uint32_t tier = value_of(r, detector, where, "tier", JSON_TEXT);
    if (r->refused || json_is(r->json, tier, "portable")) return;
    r->refused = true;
    fail(r->error, "%s: %s.tier: this detector runs in Python only, allowed here: portable. Score it with `sri score`.",
         r->source, where);
}

static void read_rest(struct reader *r) {
    uint32_t fingerprint = value_of(r, 0, "", "fingerprint", JSON_OBJECT);
    exactly(r, fingerprint, "fingerprint", "hard soft");
    value_of(r, fingerprint, "fingerprint", "hard", JSON_OBJECT);
    value_of(r, fingerprint, "fingerprint", "soft", JSON_OBJECT);
    check_hex(r, 0, "", "fingerprint_digest");
    read_rates(r);
    uint32_t producer = value_of(r, 0, "", "producer", JSON_OBJECT);
    for (uint32_t at = producer + 1; !r->refused && at < r->json->nodes[producer].next;
         at = r->json->nodes[at + 1].next)
        check(r, r->json->nodes[at + 1].kind == JSON_TEXT, "producer", "not a text");
    value_of(r, 0, "", "pooling", JSON_ANY);
    number_of(r, 0, "", "tau");
    number_of(r, 0, "", "eps");
    double invalid = number_of(r, 0, "", "invalid_score");
    check(r, invalid == (double)INVALID_SCORE, "invalid_score", "must be 3e38 as float32 holds it");
}

#endif
