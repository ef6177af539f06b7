/*
 * text.c - text that grows in a buffer of the caller's: reports, explanations. SPDX-License-Identifier: MIT
 *
 * Used counts what was put, also what no longer found room: as with snprintf, a caller learns how large its buffer should be.
 * The text in the buffer always ends with a zero. Neither takes memory, so both work while the system stops.
 */
#include "host.h"

#include <stdio.h>
#include <string.h>

VOID HostPut(HOST_TEXT *Text, const char *Format, ...)
{
    va_list List;
    int Length;
    va_start(List, Format);
    Length = vsnprintf(Text->Used < Text->Size ? Text->Bytes + Text->Used : NULL,
                       Text->Used < Text->Size ? Text->Size - Text->Used : 0, Format, List);
    va_end(List);
    if (Length > 0)
        Text->Used += (size_t)Length;
}

VOID HostPutWrapped(HOST_TEXT *Text, const char *Head, const char *Words, unsigned Indent, unsigned Width)
{
    size_t Column = strlen(Head);
    HostPut(Text, "%s", Head);
    while (*Words) {
        size_t Length = strcspn(Words, " ");
        if (Column + 1 + Length > Width) {
            HostPut(Text, "\n%*s", (int)Indent, "");
            Column = Indent;
        }
        HostPut(Text, " %.*s", (int)Length, Words);
        Column += 1 + Length;
        Words += Length + strspn(Words + Length, " ");
    }
    HostPut(Text, "\n");
}
