// SPDX-License-Identifier: BSD-2-Clause
// What newlib's string functions and inih name, and never call here: a heap (for asprintf, for formats of
// many pieces) and files (for ini_parse). The loader has neither; whoever asks is told so, as the C standard
// says it is told.
#include <reent.h>
#include <stdio.h>
#include <stdlib.h>

void *_malloc_r(struct _reent *reent, size_t size)
{
    (void)reent, (void)size;
    return NULL;
}

void *_realloc_r(struct _reent *reent, void *old, size_t size)
{
    (void)reent, (void)old, (void)size;
    return NULL;
}

void _free_r(struct _reent *reent, void *old)
{
    (void)reent, (void)old;
}

FILE *fopen(const char *restrict path, const char *restrict mode)
{
    (void)path, (void)mode;
    return NULL;
}

int fclose(FILE *file)
{
    (void)file;
    return EOF;
}

char *fgets(char *restrict line, int room, FILE *restrict file)
{
    (void)line, (void)room, (void)file;
    return NULL;
}
