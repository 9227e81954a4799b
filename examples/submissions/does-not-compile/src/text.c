#include "text.h"

#include <ctype.h>

int text_feed(struct text_counts *counts, const char *text, size_t length)
{
    if (counts == NULL || (text == NULL && length > 0))
        return -1;
    for (size_t i = 0; i < length; i++) {
        int space = isspace((unsigned char)text[i]) != 0;

        counts->lines += text[i] == '\n';
        counts->words += !space && !counts->in_word;
        counts->in_word = !space;
    }
    counts->bytes += length /* the mistake: a missing semicolon */
    return 0;
}
