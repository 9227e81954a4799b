#include "text.h"

int text_feed(struct text_counts *counts, const char *text, size_t length)
{
    if (counts == NULL || (text == NULL && length > 0))
        return -1;
    for (size_t i = 0; i < length; i++) {
        int space = text[i] == ' ' || text[i] == '\n'; /* the mistake: a tab separates words too */

        counts->lines += text[i] == '\n';
        counts->words += !space && !counts->in_word;
        counts->in_word = !space;
    }
    counts->bytes += length;
    return 0;
}
