#ifndef TEXT_H
#define TEXT_H

#include <stddef.h>

/* What has been counted so far. All zero before the first piece. */
struct text_counts {
    unsigned long lines, words, bytes;
    int in_word; /* the piece before this one ended within a word */
};

/* Counts one more piece of a text. 0, or -1 if counts is NULL or text is NULL while length is not 0. */
int text_feed(struct text_counts *counts, const char *text, size_t length);

#endif
