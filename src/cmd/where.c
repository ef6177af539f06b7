/*
 * where.c - an address as text for a person. SPDX-License-Identifier: MIT
 */
#include <dlfcn.h>
#include "cmd.h"

const char *CmdWhere(uintptr_t Address, char Text[512])
{
    const LDR_IMAGE *Image = LdrpFindImage(Address);
    if (Image != NULL) {
        ULONG Rva = (ULONG)(Address - (ULONG_PTR)Image->Base), Offset;
        const CHAR *Name = LdrFindNearestExport(Image, Rva, &Offset);
        if (Name != NULL) {
            snprintf(Text, 512, "%s!%s+0x%x", Image->Name, Name, Offset);
        } else {
            snprintf(Text, 512, "%s+0x%x", Image->Name, Rva);
        }
        return Text;
    }
    Dl_info Info;
    if (dladdr((void *)Address, &Info) != 0 && Info.dli_sname != NULL) {
        snprintf(Text, 512, "%s+0x%zx", Info.dli_sname, (size_t)(Address - (uintptr_t)Info.dli_saddr));
    } else {
        snprintf(Text, 512, "0x%zx", (size_t)Address);
    }
    return Text;
}
