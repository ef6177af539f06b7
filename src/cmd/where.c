/*
 * where.c - a return address as text for a person. SPDX-License-Identifier: MIT
 */
#include "cmd.h"

unsigned CmdWhere(uintptr_t Address, char Text[CMD_WHERE_MAX][512])
{
    HOST_SYMBOL Symbols[CMD_WHERE_MAX];
    ULONG Count = HostSymbolize(Address, FALSE, Symbols, ARRAYSIZE(Symbols));
    if (Count == 0 || Symbols[Count - 1].Library || strncmp(Symbols[Count - 1].Function, "Border_", 7) == 0) {
        return 0;
    }
    for (ULONG Index = 0; Index < Count; Index++) {
        const HOST_SYMBOL *Symbol = &Symbols[Index];
        const char *File = strrchr(Symbol->File, '/') != NULL ? strrchr(Symbol->File, '/') + 1 : Symbol->File;
        int Put = snprintf(Text[Index], 512, "%s%s%s", Symbol->Module, Symbol->Function[0] != 0 ? "!" : "", Symbol->Function);
        if (File[0] != 0 && Symbol->Line != 0) {
            snprintf(Text[Index] + Put, 512 - (size_t)Put, " (%s:%u)", File, Symbol->Line);
        } else {
            snprintf(Text[Index] + Put, 512 - (size_t)Put, "+0x%llx", (unsigned long long)Symbol->Offset);
        }
    }
    return Count;
}
