/*
 * pe_builder.h - a small valid driver image built in memory, for tests that then break it. SPDX-License-Identifier: MIT
 *
 *   file    RVA
 *   0x000   0x0000  headers: e_lfanew 0x80, optional header 0x98, section table 0x188
 *   0x400   0x1000  .text   entry point 0x1000 (mov eax, <status>; ret)
 *   0x600   0x2000  .rdata  imports of two descriptors of ntoskrnl.exe, exports, .pdata, load configuration
 *   0xc00   0x3000  .data   security cookie at 0x3000, a relocated pointer at 0x3010
 *   0xe00   0x4000  INIT    discardable code
 *   0x1000  0x5000  .reloc
 */
#pragma once
#include <string.h>
#include "ldr/pe.h"

#define PB_FILE_SIZE         0x1200u
#define PB_IMAGE_BASE        0x140000000ull
#define PB_FILE_HEADER       0x84u
#define PB_OPTIONAL          0x98u
#define PB_SECTIONS          (PB_OPTIONAL + 112 + 128)
#define PB_TEXT              0x400u
#define PB_RDATA             0x600u
#define PB_DATA              0xc00u
#define PB_INIT              0xe00u
#define PB_RELOC             0x1000u
#define PB_OPT(Field)        (PB_OPTIONAL + (ULONG)offsetof(IMAGE_OPTIONAL_HEADER64, Field))
#define PB_DIR(Index)        (PB_OPTIONAL + 112 + 8 * (ULONG)(Index))
#define PB_SEC(Index, Field) (PB_SECTIONS + 40 * (ULONG)(Index) + (ULONG)offsetof(IMAGE_SECTION_HEADER, Field))

static inline void PbPut16(UCHAR *Image, ULONG At, ULONG Value)
{
    memcpy(Image + At, &Value, 2);
}
static inline void PbPut32(UCHAR *Image, ULONG At, ULONG Value)
{
    memcpy(Image + At, &Value, 4);
}
static inline void PbPut64(UCHAR *Image, ULONG At, ULONGLONG Value)
{
    memcpy(Image + At, &Value, 8);
}
static inline void PbText(UCHAR *Image, ULONG At, const CHAR *Text)
{
    strcpy((char *)Image + At, Text);
}
static inline void PbSection(UCHAR *Image, ULONG Index, const CHAR *Name, ULONG Rva, ULONG VirtualSize, ULONG File,
                             ULONG FileSize, ULONG Flags)
{
    strncpy((char *)Image + PB_SECTIONS + 40 * Index, Name, 8);
    PbPut32(Image, PB_SEC(Index, VirtualSize), VirtualSize);
    PbPut32(Image, PB_SEC(Index, VirtualAddress), Rva);
    PbPut32(Image, PB_SEC(Index, SizeOfRawData), FileSize);
    PbPut32(Image, PB_SEC(Index, PointerToRawData), File);
    PbPut32(Image, PB_SEC(Index, Characteristics), Flags);
}

/* Image has PB_FILE_SIZE bytes. The entry point returns Status. */
static inline void PbBuild(UCHAR *Image, ULONG Status)
{
    const ULONG R = PB_RDATA - 0x2000; /* RVA in .rdata + R = file offset (mod 2^32) */
    memset(Image, 0, PB_FILE_SIZE);
    PbText(Image, 0, "MZ");
    PbPut32(Image, 0x3c, 0x80);
    PbPut32(Image, 0x80, IMAGE_NT_SIGNATURE);
    PbPut16(Image, PB_FILE_HEADER, IMAGE_FILE_MACHINE_AMD64);
    PbPut16(Image, PB_FILE_HEADER + 2, 5);
    PbPut16(Image, PB_FILE_HEADER + 16, 112 + 128);
    PbPut16(Image, PB_FILE_HEADER + 18, IMAGE_FILE_EXECUTABLE_IMAGE);
    PbPut16(Image, PB_OPT(Magic), IMAGE_NT_OPTIONAL_HDR64_MAGIC);
    PbPut32(Image, PB_OPT(AddressOfEntryPoint), 0x1000);
    PbPut64(Image, PB_OPT(ImageBase), PB_IMAGE_BASE);
    PbPut32(Image, PB_OPT(SectionAlignment), 0x1000);
    PbPut32(Image, PB_OPT(FileAlignment), 0x200);
    PbPut32(Image, PB_OPT(SizeOfImage), 0x6000);
    PbPut32(Image, PB_OPT(SizeOfHeaders), 0x400);
    PbPut16(Image, PB_OPT(Subsystem), IMAGE_SUBSYSTEM_NATIVE);
    PbPut16(Image, PB_OPT(DllCharacteristics), IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE);
    PbPut32(Image, PB_OPT(NumberOfRvaAndSizes), 16);
    PbSection(Image, 0, ".text", 0x1000, 0x100, PB_TEXT, 0x200,
              IMAGE_SCN_CNT_CODE | IMAGE_SCN_MEM_EXECUTE | IMAGE_SCN_MEM_READ);
    PbSection(Image, 1, ".rdata", 0x2000, 0x600, PB_RDATA, 0x600, IMAGE_SCN_CNT_INITIALIZED_DATA | IMAGE_SCN_MEM_READ);
    PbSection(Image, 2, ".data", 0x3000, 0x300, PB_DATA, 0x200,
              IMAGE_SCN_CNT_INITIALIZED_DATA | IMAGE_SCN_MEM_READ | IMAGE_SCN_MEM_WRITE);
    PbSection(Image, 3, "INIT", 0x4000, 0x100, PB_INIT, 0x200,
              IMAGE_SCN_CNT_CODE | IMAGE_SCN_MEM_EXECUTE | IMAGE_SCN_MEM_READ | IMAGE_SCN_MEM_DISCARDABLE);
    PbSection(Image, 4, ".reloc", 0x5000, 0x100, PB_RELOC, 0x200,
              IMAGE_SCN_CNT_INITIALIZED_DATA | IMAGE_SCN_MEM_READ | IMAGE_SCN_MEM_DISCARDABLE);
    /* mov eax, Status; ret */
    Image[PB_TEXT] = 0xb8;
    PbPut32(Image, PB_TEXT + 1, Status);
    Image[PB_TEXT + 5] = 0xc3;
    Image[PB_INIT] = 0xc3;
    /* imports: descriptors at 0x2000; lists at 0x2050, 0x2070; address tables at 0x2090, 0x20b0; names from 0x20d0 */
    PbPut32(Image, PB_DIR(IMAGE_DIRECTORY_ENTRY_IMPORT), 0x2000);
    PbPut32(Image, PB_DIR(IMAGE_DIRECTORY_ENTRY_IMPORT) + 4, 60);
    PbPut32(Image, 0x2000 + R, 0x2050);
    PbPut32(Image, 0x200c + R, 0x20d0);
    PbPut32(Image, 0x2010 + R, 0x2090);
    PbPut32(Image, 0x2014 + R, 0x2070);
    PbPut32(Image, 0x2020 + R, 0x20d0);
    PbPut32(Image, 0x2024 + R, 0x20b0);
    PbPut64(Image, 0x2050 + R, 0x20e0);
    PbPut64(Image, 0x2058 + R, 0x2100);
    PbPut64(Image, 0x2070 + R, 0x2120);
    memcpy(Image + (0x2090 + R), Image + (0x2050 + R), 0x18);
    memcpy(Image + (0x20b0 + R), Image + (0x2070 + R), 0x10);
    PbText(Image, 0x20d0 + R, "ntoskrnl.exe");
    PbText(Image, 0x20e2 + R, "ExFreePool");
    PbText(Image, 0x2102 + R, "PsNoSuchRoutine");
    PbText(Image, 0x2122 + R, "ExAllocatePool2");
    /* exports at 0x2200: Answer (0x1000), Away (forwarded), one by ordinal only */
    PbPut32(Image, PB_DIR(IMAGE_DIRECTORY_ENTRY_EXPORT), 0x2200);
    PbPut32(Image, PB_DIR(IMAGE_DIRECTORY_ENTRY_EXPORT) + 4, 0x100);
    PbPut32(Image, 0x220c + R, 0x22a0); /* name */
    PbPut32(Image, 0x2210 + R, 1);      /* base */
    PbPut32(Image, 0x2214 + R, 3);
    PbPut32(Image, 0x2218 + R, 2);
    PbPut32(Image, 0x221c + R, 0x2240);
    PbPut32(Image, 0x2220 + R, 0x2250);
    PbPut32(Image, 0x2224 + R, 0x2260);
    PbPut32(Image, 0x2240 + R, 0x1000);
    PbPut32(Image, 0x2244 + R, 0x22d0); /* inside the directory: a forwarder */
    PbPut32(Image, 0x2248 + R, 0x1005);
    PbPut32(Image, 0x2250 + R, 0x22b0);
    PbPut32(Image, 0x2254 + R, 0x22c0);
    PbPut16(Image, 0x2260 + R, 0);
    PbPut16(Image, 0x2262 + R, 1);
    PbText(Image, 0x22a0 + R, "small.sys");
    PbText(Image, 0x22b0 + R, "Answer");
    PbText(Image, 0x22c0 + R, "Away");
    PbText(Image, 0x22d0 + R, "ntoskrnl.ExFreePool");
    /* .pdata at 0x2300, two functions; unwind data at 0x2340 */
    PbPut32(Image, PB_DIR(IMAGE_DIRECTORY_ENTRY_EXCEPTION), 0x2300);
    PbPut32(Image, PB_DIR(IMAGE_DIRECTORY_ENTRY_EXCEPTION) + 4, 24);
    PbPut32(Image, 0x2300 + R, 0x1000);
    PbPut32(Image, 0x2304 + R, 0x1006);
    PbPut32(Image, 0x2308 + R, 0x2340);
    PbPut32(Image, 0x230c + R, 0x4000);
    PbPut32(Image, 0x2310 + R, 0x4001);
    PbPut32(Image, 0x2314 + R, 0x2340);
    Image[0x2340 + R] = 1;
    /* load configuration at 0x2400: the cookie */
    PbPut32(Image, PB_DIR(IMAGE_DIRECTORY_ENTRY_LOAD_CONFIG), 0x2400);
    PbPut32(Image, PB_DIR(IMAGE_DIRECTORY_ENTRY_LOAD_CONFIG) + 4, 0x70);
    PbPut32(Image, 0x2400 + R, 0x70);
    PbPut64(Image, 0x2458 + R, PB_IMAGE_BASE + 0x3000);
    PbPut64(Image, PB_DATA, 0x00002B992DDFA232ull); /* the compiler's default cookie */
    PbPut64(Image, PB_DATA + 0x10, PB_IMAGE_BASE + 0x3020);
    /* relocations: the cookie's address in the load configuration, and the pointer */
    PbPut32(Image, PB_DIR(IMAGE_DIRECTORY_ENTRY_BASERELOC), 0x5000);
    PbPut32(Image, PB_DIR(IMAGE_DIRECTORY_ENTRY_BASERELOC) + 4, 24);
    PbPut32(Image, PB_RELOC, 0x2000);
    PbPut32(Image, PB_RELOC + 4, 12);
    PbPut16(Image, PB_RELOC + 8, 0xa458);
    PbPut32(Image, PB_RELOC + 12, 0x3000);
    PbPut32(Image, PB_RELOC + 16, 12);
    PbPut16(Image, PB_RELOC + 20, 0xa010);
}
