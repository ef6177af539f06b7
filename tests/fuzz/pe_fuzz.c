/*
 * pe_fuzz.c - libFuzzer over the loader's reading of an image: parse it, and if it is accepted, walk everything the
 * loader walks, checking that what the walks yield keeps pe.c's invariants. SPDX-License-Identifier: MIT
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "ldr/pe.h"

#define REQUIRE(Condition)                                                                                                     \
    do {                                                                                                                       \
        if (!(Condition)) {                                                                                                    \
            abort();                                                                                                           \
        }                                                                                                                      \
    } while (0)

static volatile size_t Sink; /* every byte that the walks promise is really read */

static BOOLEAN SeeImport(const LDR_IMPORT *Import, PVOID Context)
{
    const LDR_PE *Pe = Context;
    Sink += strlen(Import->Module) + (Import->Name != NULL ? strlen(Import->Name) : 0);
    REQUIRE(Import->SlotRva <= Pe->SizeOfImage - 8 && Import->SlotRva >= Pe->SizeOfHeaders);
    return TRUE;
}

static BOOLEAN SeeExport(const LDR_EXPORT *Export, PVOID Context)
{
    const LDR_PE *Pe = Context;
    Sink += (Export->Name != NULL ? strlen(Export->Name) : 0) + (Export->Forwarder != NULL ? strlen(Export->Forwarder) : 0);
    REQUIRE(Export->Rva < Pe->SizeOfImage);
    return TRUE;
}

static BOOLEAN SeeRelocation(ULONG Rva, PVOID Context)
{
    const LDR_PE *Pe = Context;
    REQUIRE(Rva <= Pe->SizeOfImage - 8);
    return TRUE;
}

int LLVMFuzzerTestOneInput(const uint8_t *Data, size_t Size);
int LLVMFuzzerTestOneInput(const uint8_t *Data, size_t Size)
{
    static LDR_PE Pe;
    CHAR Error[200];
    if (!LdrParsePe(Data, Size, &Pe, Error, sizeof(Error))) {
        REQUIRE(Error[0] != 0 && strlen(Error) < sizeof(Error));
        return 0;
    }
    REQUIRE(Error[0] == 0 && Pe.SectionCount >= 1 && Pe.SectionCount <= LDR_MAX_SECTIONS);
    ULONG End = Pe.SizeOfHeaders;
    for (ULONG Index = 0; Index < Pe.SectionCount; Index++) {
        const LDR_SECTION *Section = &Pe.Sections[Index];
        REQUIRE(Section->Rva >= End && Section->VirtualSize <= Pe.SizeOfImage - Section->Rva);
        REQUIRE(Section->FileSize <= ((Section->VirtualSize + 0xfff) & ~0xfffu));
        End = Section->Rva + Section->VirtualSize;
        if (Section->FileSize != 0) {
            const UCHAR *Bytes = LdrPeAt(&Pe, Section->Rva, Section->FileSize);
            REQUIRE(Bytes == Data + Section->FileOffset);
            Sink += Bytes[0] + Bytes[Section->FileSize - 1];
        }
    }
    REQUIRE(LdrPeEnumerateImports(&Pe, SeeImport, &Pe));
    REQUIRE(LdrPeEnumerateExports(&Pe, SeeExport, &Pe));
    REQUIRE(LdrPeEnumerateRelocations(&Pe, SeeRelocation, &Pe));
    if (Pe.FunctionCount != 0) {
        REQUIRE(LdrPeAt(&Pe, Pe.Directory[IMAGE_DIRECTORY_ENTRY_EXCEPTION].VirtualAddress, Pe.FunctionCount * 12) != NULL);
    }
    return 0;
}
