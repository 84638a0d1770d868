/* A verdict as one line of JSON, in the schemas every runtime shares. */
#ifndef SRI_VERDICT_H
#define SRI_VERDICT_H

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admission.h"

static const char *const STATUSES[] = {"unmonitored", "clear", "flagged"};
static const char *const ENDS[] = {NULL, "refusing", "complying"};

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

/* null where there is nothing. */
static void put_text_or_null(struct line *line, const char *text) {
    if (text) put_text(line, text);
    else put(line, "null");
}

static void put_number_if(struct line *line, bool there, double value) {
    if (there) put_number(line, value);
    else put(line, "null");
}

static void put_accepted(struct line *line, unsigned accepted) {
    bool several = false;
    put(line, "[");
    for (int i = 0; i <= SOFT_FIELDS; i++) {
        if (!(accepted & 1u << i)) continue;
        put(line, several ? ", " : ""), put_text(line, i < SOFT_FIELDS ? SOFT[i] : "unverified");
        several = true;
    }
    put(line, "]");
}

static void put_parts(struct line *line, const sri_verdict *v) {
    put(line, "[");
    for (size_t k = 0; k < v->part_count; k++) {
        const sri_part_verdict *part = &v->parts[k];
        put(line, k ? ", {\"name\": " : "{\"name\": "), put_text(line, part->name);
        put(line, ", \"status\": "), put_text(line, STATUSES[part->status]);
        put(line, ", \"score\": "), put_number_if(line, part->scored, (double)part->score);
        put(line, ", \"threshold\": "), put_number(line, part->threshold);
        put(line, ", \"p_value\": "), put_number_if(line, part->scored, part->p_value);
        put(line, ", \"reason\": "), put_text_or_null(line, part->reason);
        put(line, "}");
    }
    put(line, "]");
}

static void put_verdict(struct line *line, const sri_verdict *v, const char *request_id) {
    put(line, "{\"request_id\": "), put_text(line, request_id);
    put(line, ", \"status\": "), put_text(line, STATUSES[v->status]);
    put(line, ", \"reasons\": [");
    for (int i = 0; i < SRI_MOST_REASONS && v->reasons[i]; i++) put(line, i ? ", " : ""), put_text(line, v->reasons[i]);
    put(line, "], \"score\": "), put_number_if(line, v->scored, (double)v->score);
    put(line, ", \"threshold\": "), put_number(line, v->threshold);
    put(line, ", \"p_value\": "), put_number_if(line, v->scored, v->p_value);
    put(line, ", \"first_alarm_step\": "), put_number_if(line, v->first_alarm_step >= 0, (double)v->first_alarm_step);
    put(line, ", \"steps_seen\": null, \"steps_expected\": null, \"rule\": "), put_text(line, RULE_NAMES[v->rule]);
    put(line, ", \"bundle\": "), put_text(line, v->bundle);
    put(line, ", \"accepted\": "), put_accepted(line, v->accepted);
    if (v->schema == 2) {
        put(line, ", \"judged_steps\": "), put_number_if(line, v->judged_steps >= 0, (double)v->judged_steps);
        put(line, ", \"ended\": "), put_text_or_null(line, ENDS[v->ended]);
        put(line, ", \"group\": "), put_text_or_null(line, v->group);
        put(line, ", \"parts\": "), put_parts(line, v);
    }
    put(line, ", \"schema\": "), put_number(line, v->schema == 2 ? 2 : 1), put(line, "}");
}

#endif
