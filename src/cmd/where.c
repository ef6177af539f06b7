/*
 * where.c - a return address as text for a person. SPDX-License-Identifier: MIT
 */
#include "cmd.h"

bool CmdWhere(uintptr_t Address, char Text[512])
{
    HOST_SYMBOL Symbols[4];
    ULONG Count = HostSymbolize(Address, FALSE, Symbols, ARRAYSIZE(Symbols));
    const HOST_SYMBOL *Symbol = &Symbols[0]; /* the innermost inlined function: the line itself */
    if (Count == 0) {
        snprintf(Text, 512, "0x%llx", (unsigned long long)Address);
        return true;
    }
    const char *File = strrchr(Symbol->File, '/') != NULL ? strrchr(Symbol->File, '/') + 1 : Symbol->File;
    int Put = snprintf(Text, 512, "%s%s%s", Symbol->Module, Symbol->Function[0] != 0 ? "!" : "", Symbol->Function);
    if (File[0] != 0 && Symbol->Line != 0) {
        snprintf(Text + Put, 512 - (size_t)Put, " (%s:%u)", File, Symbol->Line);
    } else {
        snprintf(Text + Put, 512 - (size_t)Put, "+0x%llx", (unsigned long long)Symbol->Offset);
    }
    return !Symbols[Count - 1].Library;
}
