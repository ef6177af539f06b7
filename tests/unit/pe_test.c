/*
 * pe_test.c - the PE parser: one accepted image, and every way in which it is refused. SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "pe_builder.h"

static UCHAR Image[PB_FILE_SIZE];
static LDR_PE Pe;
static CHAR Error[256];

/* The bytes in a block of exactly their size, so that a sanitizer sees a read beyond. */
static BOOLEAN Parse(SIZE_T Size)
{
    UCHAR *Copy = malloc(Size != 0 ? Size : 1);
    memcpy(Copy, Image, Size);
    BOOLEAN Accepted = LdrParsePe(Copy, Size, &Pe, Error, sizeof(Error));
    free(Copy);
    assert_int_equal(Accepted, Error[0] == 0);
    return Accepted;
}

static void Expect(SIZE_T Size, const CHAR *Words)
{
    if (Parse(Size)) {
        fail_msg("accepted; expected a refusal with \"%s\"", Words);
    }
    if (strstr(Error, Words) == NULL) {
        fail_msg("refused with \"%s\"; expected \"%s\"", Error, Words);
    }
}

typedef struct _SEEN {
    ULONG Count;
    CHAR Text[512];
} SEEN;

static BOOLEAN SeeImport(const LDR_IMPORT *Import, PVOID Context)
{
    SEEN *Seen = Context;
    Seen->Count++;
    size_t At = strlen(Seen->Text);
    snprintf(Seen->Text + At, sizeof(Seen->Text) - At, "%u:%s!%s@%x ", Import->Descriptor, Import->Module,
             Import->Name != NULL ? Import->Name : "#", Import->SlotRva);
    return TRUE;
}

static BOOLEAN SeeExport(const LDR_EXPORT *Export, PVOID Context)
{
    SEEN *Seen = Context;
    Seen->Count++;
    size_t At = strlen(Seen->Text);
    snprintf(Seen->Text + At, sizeof(Seen->Text) - At, "%u=%s:%x%s ", Export->Ordinal,
             Export->Name != NULL ? Export->Name : "-", Export->Rva, Export->Forwarder != NULL ? Export->Forwarder : "");
    return TRUE;
}

static BOOLEAN SeeRelocation(ULONG Rva, PVOID Context)
{
    SEEN *Seen = Context;
    Seen->Count++;
    size_t At = strlen(Seen->Text);
    snprintf(Seen->Text + At, sizeof(Seen->Text) - At, "%x ", Rva);
    return TRUE;
}

static void Parse_GoodImage_DescribesIt(void **State)
{
    (void)State;
    PbBuild(Image, 0);
    assert_true(LdrParsePe(Image, sizeof(Image), &Pe, Error, sizeof(Error)));
    assert_int_equal(Pe.SectionCount, 5);
    assert_string_equal(Pe.Sections[3].Name, "INIT");
    assert_int_equal(Pe.SizeOfImage, 0x6000);
    assert_int_equal(Pe.EntryPoint, 0x1000);
    assert_int_equal(Pe.ImportCount, 3);
    assert_int_equal(Pe.ImportModules, 2);
    assert_int_equal(Pe.ExportCount, 3);
    assert_int_equal(Pe.RelocationCount, 2);
    assert_int_equal(Pe.FunctionCount, 2);
    assert_string_equal(Pe.ExportName, "small.sys");
    SEEN Imports = {0}, Exports = {0}, Relocations = {0};
    assert_true(LdrPeEnumerateImports(&Pe, SeeImport, &Imports));
    assert_string_equal(Imports.Text, "0:ntoskrnl.exe!ExFreePool@2090 0:ntoskrnl.exe!PsNoSuchRoutine@2098 "
                                      "1:ntoskrnl.exe!ExAllocatePool2@20b0 ");
    assert_true(LdrPeEnumerateExports(&Pe, SeeExport, &Exports));
    assert_string_equal(Exports.Text, "1=Answer:1000 2=Away:0ntoskrnl.ExFreePool 3=-:1005 ");
    assert_true(LdrPeEnumerateRelocations(&Pe, SeeRelocation, &Relocations));
    assert_string_equal(Relocations.Text, "2458 3010 ");
}

static void Parse_EveryTruncation_IsRefused(void **State)
{
    (void)State;
    PbBuild(Image, 0);
    for (SIZE_T Size = 0; Size < PB_RELOC + 0x200; Size++) {
        if (Parse(Size)) {
            fail_msg("a file cut to 0x%zx bytes was accepted", (size_t)Size);
        }
    }
    assert_true(Parse(PB_FILE_SIZE));
}

static void At_OutsideOneSection_IsNull(void **State)
{
    (void)State;
    PbBuild(Image, 0);
    assert_true(LdrParsePe(Image, sizeof(Image), &Pe, Error, sizeof(Error)));
    assert_ptr_equal(LdrPeAt(&Pe, 0x2000, 0x600), Image + PB_RDATA);
    assert_null(LdrPeAt(&Pe, 0x2000, 0x601));
    assert_null(LdrPeAt(&Pe, 0x2fff, 0xffffffff));
    assert_null(LdrPeAt(&Pe, 0xffffffff, 1));
    assert_null(LdrPeAt(&Pe, 0x3200, 1)); /* zero-filled tail of .data has no file bytes */
    assert_null(LdrPeAt(&Pe, 0x6000, 1));
    assert_ptr_equal(LdrPeAt(&Pe, 0, 0x400), Image);
    assert_null(LdrPeAt(&Pe, 0x3ff, 2));
    assert_null(LdrPeString(&Pe, 0x25ff + 1));
}

typedef struct _BREAK {
    ULONG At, Bytes;
    ULONGLONG Value;
    const CHAR *Words;
} BREAK;

#define RD(Rva) (PB_RDATA + (Rva)-0x2000)
static const BREAK Breaks[] = {
    {0, 2, 0x4142, "does not start with \"MZ\""},
    {0, 4, 0x464c457f, "it is an ELF file"},
    {0x3c, 4, 0x7fffffff, "its PE header would be at offset 0x7fffffff"},
    {0x3c, 4, 0xffffffff, "its PE header would be at offset"},
    {0x3c, 4, 0x40, "no \"PE\" signature at offset 0x40"},
    {PB_FILE_HEADER, 2, 0x14c, "32-bit x86 (machine 0x14c); only x64"},
    {PB_FILE_HEADER, 2, 0xaa64, "ARM64 (machine 0xaa64); only x64"},
    {PB_FILE_HEADER, 2, 0x1234, "machine 0x1234"},
    {PB_FILE_HEADER + 2, 2, 0, "0 sections"},
    {PB_FILE_HEADER + 2, 2, 97, "97 sections"},
    {PB_FILE_HEADER + 16, 2, 10, "an optional header of 10 bytes"},
    {PB_FILE_HEADER + 16, 2, 0xffff, "ends within its headers"},
    {PB_FILE_HEADER + 16, 2, 112, "16 data directories do not fit"},
    {PB_FILE_HEADER + 18, 2, 0, "not executable"},
    {PB_OPT(Magic), 2, 0x10b, "magic 0x10b"},
    {PB_OPT(SectionAlignment), 4, 0x200, "aligned to 0x200"},
    {PB_OPT(SectionAlignment), 4, 0x3000, "aligned to 0x3000"},
    {PB_OPT(FileAlignment), 4, 0, "file alignment 0x0"},
    {PB_OPT(FileAlignment), 4, 0x2000, "file alignment 0x2000"},
    {PB_OPT(SizeOfImage), 4, 0, "size in memory is 0x0"},
    {PB_OPT(SizeOfImage), 4, 0xffffffff, "size in memory is 0xffffffff"},
    {PB_OPT(SizeOfImage), 4, 0x5000, "section .reloc ends at RVA 0x5100"},
    {PB_OPT(SizeOfHeaders), 4, 0x100, "0x100 bytes of headers"},
    {PB_OPT(SizeOfHeaders), 4, 0x1300, "less than its headers'"},
    {PB_OPT(AddressOfEntryPoint), 4, 0x3000, "entry point (RVA 0x3000)"},
    {PB_OPT(AddressOfEntryPoint), 4, 0xfffffff0, "entry point"},
    {PB_SEC(0, VirtualAddress), 4, 0x1001, "not on a page"},
    {PB_SEC(0, VirtualAddress), 4, 0, "overlaps what comes before"},
    {PB_SEC(1, VirtualAddress), 4, 0x1000, "section .rdata (RVA 0x1000) overlaps"},
    {PB_SEC(4, VirtualSize), 4, 0xffffffff, "beyond the image's size"},
    {PB_SEC(0, SizeOfRawData), 4, 0xffffffff, "truncated: section .text"},
    {PB_SEC(0, PointerToRawData), 4, 0xfffffff0, "truncated: section .text"},
    {PB_DIR(IMAGE_DIRECTORY_ENTRY_IMPORT), 4, 0xffffffff, "import table runs out"},
    {RD(0x200c), 4, 0x9999, "no readable module name"},
    {RD(0x2000), 4, 0x25fc, "the import list of ntoskrnl.exe runs out"},
    {RD(0x2010), 4, 0x10, "import address table of ntoskrnl.exe lies outside"},
    {RD(0x2010), 4, 0x5ffc, "import address table of ntoskrnl.exe lies outside"},
    {RD(0x2050), 4, 0x70000000, "import 0 of ntoskrnl.exe has no readable name"},
    {RD(0x2050), 8, 0x7fffffffffffffffull, "import 0 of ntoskrnl.exe has no readable name"},
    {PB_DIR(IMAGE_DIRECTORY_ENTRY_EXPORT), 4, 0x5f00, "export directory (RVA 0x5f00)"},
    {RD(0x2214), 4, 0xffffffff, "4294967295 exports"},
    {RD(0x2218), 4, 65537, "65537 names"},
    {RD(0x221c), 4, 0xffffffff, "export table lies outside"},
    {RD(0x2250), 4, 0x70000000, "export 0 has no readable name"},
    {RD(0x2260), 2, 77, "export 0 has no readable name or address"},
    {RD(0x2248), 4, 0x66666666, "export of ordinal 3"},
    {PB_DIR(IMAGE_DIRECTORY_ENTRY_BASERELOC), 4, 0x5ffc, "relocations (RVA 0x5ffc"},
    {PB_RELOC + 4, 4, 4, "relocation block at page 0x2000 has 4 bytes"},
    {PB_RELOC + 4, 4, 0x80000000, "relocation block at page 0x2000"},
    {PB_RELOC + 8, 2, 0x3458, "relocation type 3"},
    {PB_RELOC, 4, 0xfffff000, "relocation at RVA 0xfffff458 lies outside"},
    {PB_RELOC + 8, 2, 0xaffc, "relocation at RVA 0x2ffc lies outside"},
    {PB_DIR(IMAGE_DIRECTORY_ENTRY_EXCEPTION), 4, 0x9000, "exception directory (RVA 0x9000"},
    {RD(0x2304), 4, 0x1000, "entry 0 of the exception directory"},
    {RD(0x230c), 4, 0x800, "entry 1 of the exception directory"},
    {RD(0x2310), 4, 0x7000, "entry 1 of the exception directory"},
    {RD(0x2308), 4, 0x7000, "entry 0 of the exception directory"},
    {PB_DIR(IMAGE_DIRECTORY_ENTRY_LOAD_CONFIG), 4, 0x25fe, "load configuration"},
    {RD(0x2400), 4, 0xfffffff0, "load configuration"},
    {RD(0x2458), 8, PB_IMAGE_BASE + 0x6000, "security cookie"},
    {RD(0x2458), 8, 1, "security cookie"},
    {PB_DIR(IMAGE_DIRECTORY_ENTRY_COM), 4, 0x2000, ".NET assembly"},
};

static void Parse_BrokenField_IsNamed(void **State)
{
    (void)State;
    for (ULONG Index = 0; Index < ARRAYSIZE(Breaks); Index++) {
        PbBuild(Image, 0);
        memcpy(Image + Breaks[Index].At, &Breaks[Index].Value, Breaks[Index].Bytes);
        Expect(sizeof(Image), Breaks[Index].Words);
    }
}

/* Half a million descriptors, each naming the same list: refused by the limits, in linear time. */
static void Parse_ManyDescriptors_AreBounded(void **State)
{
    (void)State;
    const ULONG Size = 0x400000;
    UCHAR *Big = calloc(1, Size);
    PbBuild(Big, 0);
    PbPut32(Big, PB_SEC(4, VirtualSize), Size - 0x1000);
    PbPut32(Big, PB_SEC(4, SizeOfRawData), Size - 0x1000);
    PbPut32(Big, PB_OPT(SizeOfImage), 0x5000 + Size);
    PbPut32(Big, PB_DIR(IMAGE_DIRECTORY_ENTRY_BASERELOC), 0);
    PbPut32(Big, PB_DIR(IMAGE_DIRECTORY_ENTRY_IMPORT), 0x5000);
    for (ULONG At = PB_RELOC; At + 20 <= Size; At += 20) {
        PbPut32(Big, At, 0x2050);
        PbPut32(Big, At + 12, 0x20d0);
        PbPut32(Big, At + 16, 0x2090);
    }
    assert_false(LdrParsePe(Big, Size, &Pe, Error, sizeof(Error)));
    assert_non_null(strstr(Error, "more than 1024 import descriptors"));
    free(Big);
}

static void Parse_LongSectionName_IsResolved(void **State)
{
    (void)State;
    PbBuild(Image, 0);
    PbPut32(Image, PB_FILE_HEADER + 8, PB_INIT + 0x100); /* no symbols, a string table */
    PbText(Image, PB_INIT + 0x104, ".debug_information_long_long");
    memcpy(Image + PB_SECTIONS + 40 * 4, "/4\0\0\0\0\0\0", 8);
    assert_true(Parse(sizeof(Image)));
    assert_string_equal(Pe.Sections[4].Name, ".debug_information_long");
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Parse_GoodImage_DescribesIt),      cmocka_unit_test(Parse_EveryTruncation_IsRefused),
        cmocka_unit_test(At_OutsideOneSection_IsNull),      cmocka_unit_test(Parse_BrokenField_IsNamed),
        cmocka_unit_test(Parse_ManyDescriptors_AreBounded), cmocka_unit_test(Parse_LongSectionName_IsResolved),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
