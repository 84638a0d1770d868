/* A verdict as one line of JSON, in the schema every runtime shares. */
#ifndef SRI_VERDICT_H
#define SRI_VERDICT_H

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admission.h"

enum { VERDICT_SCHEMA = 1 };

static const char *const REASONS[] = {
    "", "score_above_threshold", "non_finite_signal", "signal_out_of_range", "incomplete_signal", "score_not_finite",
};
static const char *const STATUSES[] = {"unmonitored", "clear", "flagged"};

struct line { /* counts on where there is no more room */
    char *text;
    size_t room, length;
};

static void put(struct line *line, const char *text) {
    for (; *text; text++, line->length++)
        if (line->length + 1 < line->room) line->text[line->length] = *text;
}

static void put_text(struct line *line, const char *text) {
    put(line, "\"");
    for (; *text; text++) {
        char one[8] = {*text};
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') snprintf(one, sizeof one, "\\%c", c);
        if (c < 32 || c == 127) snprintf(one, sizeof one, "\\u%04x", c);
        put(line, one);
    }
    put(line, "\"");
}

/* The shortest form that reads back as the same number. */
static void put_number(struct line *line, double value) {
    char digits[40] = "null";
    for (int places = 15; places <= 17; places++) {
        snprintf(digits, sizeof digits, "%.*g", places, value);
        if (strtod(digits, NULL) == value) break;
    }
    put(line, digits);
}

static void put_verdict(struct line *line, const sri_verdict *v, const char *request_id) {
    put(line, "{\"request_id\": "), put_text(line, request_id);
    put(line, ", \"status\": "), put_text(line, STATUSES[v->status]);
    put(line, ", \"reasons\": [");
    for (int i = 0; i < 2 && v->reasons[i]; i++) put(line, i ? ", " : ""), put_text(line, REASONS[v->reasons[i]]);
    put(line, "], \"score\": ");
    if (v->scored) put_number(line, (double)v->score);
    else put(line, "null");
    put(line, ", \"threshold\": "), put_number(line, v->threshold);
    put(line, ", \"p_value\": ");
    if (v->scored) put_number(line, v->p_value);
    else put(line, "null");
    put(line, ", \"first_alarm_step\": ");
    if (v->first_alarm_step >= 0) put_number(line, (double)v->first_alarm_step);
    else put(line, "null");
    put(line, ", \"steps_seen\": null, \"steps_expected\": null, \"rule\": ");
    put_text(line, v->rule == SRI_ONLINE ? "online" : "final");
    put(line, ", \"bundle\": "), put_text(line, v->bundle);
    put(line, ", \"accepted\": [");
    bool several = false;
    for (int i = 0; i <= SOFT_FIELDS; i++) {
        if (!(v->accepted & 1u << i)) continue;
        put(line, several ? ", " : ""), put_text(line, i < SOFT_FIELDS ? SOFT[i] : "unverified");
        several = true;
    }
    put(line, "], \"schema\": "), put_number(line, VERDICT_SCHEMA), put(line, "}");
}

#endif
