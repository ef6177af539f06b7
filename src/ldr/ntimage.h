/*
 * ntimage.h - the on-disk records of a PE32+ image, as Microsoft's "PE Format" specification lays them out. Names as in
 * the WDK's ntimage.h, an LDR prefix where another header may define the same name. SPDX-License-Identifier: MIT
 *
 * Everything here is read with memcpy from an untrusted buffer (pe.c), or from an image that pe.c has accepted.
 */
#pragma once
#include <ntdef.h>

#define IMAGE_DOS_SIGNATURE 0x5A4Du
#define IMAGE_NT_SIGNATURE  0x00004550u

#define IMAGE_FILE_MACHINE_I386  0x014cu
#define IMAGE_FILE_MACHINE_ARMNT 0x01c4u
#define IMAGE_FILE_MACHINE_IA64  0x0200u
#define IMAGE_FILE_MACHINE_AMD64 0x8664u
#define IMAGE_FILE_MACHINE_ARM64 0xAA64u

#define IMAGE_FILE_RELOCS_STRIPPED  0x0001u
#define IMAGE_FILE_EXECUTABLE_IMAGE 0x0002u
#define IMAGE_FILE_DLL              0x2000u

#define IMAGE_NT_OPTIONAL_HDR32_MAGIC 0x10bu
#define IMAGE_NT_OPTIONAL_HDR64_MAGIC 0x20bu

#define IMAGE_SUBSYSTEM_NATIVE 1u

#define IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE 0x0040u
#define IMAGE_DLLCHARACTERISTICS_NX_COMPAT    0x0100u

#define IMAGE_SCN_CNT_CODE               0x00000020u
#define IMAGE_SCN_CNT_INITIALIZED_DATA   0x00000040u
#define IMAGE_SCN_CNT_UNINITIALIZED_DATA 0x00000080u
#define IMAGE_SCN_MEM_DISCARDABLE        0x02000000u
#define IMAGE_SCN_MEM_NOT_PAGED          0x08000000u
#define IMAGE_SCN_MEM_EXECUTE            0x20000000u
#define IMAGE_SCN_MEM_READ               0x40000000u
#define IMAGE_SCN_MEM_WRITE              0x80000000u

#define IMAGE_DIRECTORY_ENTRY_EXPORT       0
#define IMAGE_DIRECTORY_ENTRY_IMPORT       1
#define IMAGE_DIRECTORY_ENTRY_EXCEPTION    3
#define IMAGE_DIRECTORY_ENTRY_BASERELOC    5
#define IMAGE_DIRECTORY_ENTRY_TLS          9
#define IMAGE_DIRECTORY_ENTRY_LOAD_CONFIG  10
#define IMAGE_DIRECTORY_ENTRY_IAT          12
#define IMAGE_DIRECTORY_ENTRY_DELAY_IMPORT 13
#define IMAGE_DIRECTORY_ENTRY_COM          14
#define IMAGE_NUMBEROF_DIRECTORY_ENTRIES   16

#define IMAGE_REL_BASED_ABSOLUTE 0
#define IMAGE_REL_BASED_DIR64    10

#define IMAGE_ORDINAL_FLAG64 0x8000000000000000ull

typedef struct _IMAGE_DOS_HEADER {
    USHORT e_magic;
    USHORT e_reserved[29];
    LONG e_lfanew; /* 0x3C */
} IMAGE_DOS_HEADER;
C_ASSERT(sizeof(IMAGE_DOS_HEADER) == 64);

typedef struct _IMAGE_FILE_HEADER {
    USHORT Machine;
    USHORT NumberOfSections;
    ULONG TimeDateStamp;
    ULONG PointerToSymbolTable;
    ULONG NumberOfSymbols;
    USHORT SizeOfOptionalHeader;
    USHORT Characteristics;
} IMAGE_FILE_HEADER;
C_ASSERT(sizeof(IMAGE_FILE_HEADER) == 20);

typedef struct _IMAGE_DATA_DIRECTORY {
    ULONG VirtualAddress;
    ULONG Size;
} IMAGE_DATA_DIRECTORY;

typedef struct _IMAGE_OPTIONAL_HEADER64 {
    USHORT Magic;
    UCHAR MajorLinkerVersion;
    UCHAR MinorLinkerVersion;
    ULONG SizeOfCode;
    ULONG SizeOfInitializedData;
    ULONG SizeOfUninitializedData;
    ULONG AddressOfEntryPoint;
    ULONG BaseOfCode;
    ULONGLONG ImageBase;
    ULONG SectionAlignment;
    ULONG FileAlignment;
    USHORT MajorOperatingSystemVersion;
    USHORT MinorOperatingSystemVersion;
    USHORT MajorImageVersion;
    USHORT MinorImageVersion;
    USHORT MajorSubsystemVersion;
    USHORT MinorSubsystemVersion;
    ULONG Win32VersionValue;
    ULONG SizeOfImage;
    ULONG SizeOfHeaders;
    ULONG CheckSum;
    USHORT Subsystem;
    USHORT DllCharacteristics;
    ULONGLONG SizeOfStackReserve;
    ULONGLONG SizeOfStackCommit;
    ULONGLONG SizeOfHeapReserve;
    ULONGLONG SizeOfHeapCommit;
    ULONG LoaderFlags;
    ULONG NumberOfRvaAndSizes;
} IMAGE_OPTIONAL_HEADER64; /* followed by NumberOfRvaAndSizes IMAGE_DATA_DIRECTORY */
C_ASSERT(sizeof(IMAGE_OPTIONAL_HEADER64) == 112);

typedef struct _IMAGE_SECTION_HEADER {
    UCHAR Name[8];
    ULONG VirtualSize;
    ULONG VirtualAddress;
    ULONG SizeOfRawData;
    ULONG PointerToRawData;
    ULONG PointerToRelocations;
    ULONG PointerToLinenumbers;
    USHORT NumberOfRelocations;
    USHORT NumberOfLinenumbers;
    ULONG Characteristics;
} IMAGE_SECTION_HEADER;
C_ASSERT(sizeof(IMAGE_SECTION_HEADER) == 40);

typedef struct _IMAGE_IMPORT_DESCRIPTOR {
    ULONG OriginalFirstThunk;
    ULONG TimeDateStamp;
    ULONG ForwarderChain;
    ULONG Name;
    ULONG FirstThunk;
} IMAGE_IMPORT_DESCRIPTOR;
C_ASSERT(sizeof(IMAGE_IMPORT_DESCRIPTOR) == 20);

typedef struct _IMAGE_EXPORT_DIRECTORY {
    ULONG Characteristics;
    ULONG TimeDateStamp;
    USHORT MajorVersion;
    USHORT MinorVersion;
    ULONG Name;
    ULONG Base;
    ULONG NumberOfFunctions;
    ULONG NumberOfNames;
    ULONG AddressOfFunctions;
    ULONG AddressOfNames;
    ULONG AddressOfNameOrdinals;
} IMAGE_EXPORT_DIRECTORY;
C_ASSERT(sizeof(IMAGE_EXPORT_DIRECTORY) == 40);

typedef struct _IMAGE_BASE_RELOCATION {
    ULONG VirtualAddress;
    ULONG SizeOfBlock;
} IMAGE_BASE_RELOCATION;

/* IMAGE_LOAD_CONFIG_DIRECTORY64: only the field the loader honours. */
#define LDR_LOAD_CONFIG_SECURITY_COOKIE 0x58 /* offset of SecurityCookie, a virtual address */

/* One entry of .pdata: RUNTIME_FUNCTION. Sorted by Begin; UnwindData bit 0 means "another entry", an RVA. */
typedef struct _LDR_RUNTIME_FUNCTION {
    ULONG Begin, End, UnwindData;
} LDR_RUNTIME_FUNCTION;
C_ASSERT(sizeof(LDR_RUNTIME_FUNCTION) == 12);
