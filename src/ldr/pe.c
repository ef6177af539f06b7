/*
 * pe.c - reads an untrusted buffer as a PE32+ x64 image. SPDX-License-Identifier: MIT
 *
 * Owns the format and nothing else: no allocation, no mapping, no state; a parse is a pure function of the bytes. It
 * implements Microsoft's "PE Format" specification as far as the kernel's loader cares for it. LdrParsePe accepts or
 * refuses the whole image at once: it walks the section table, the imports, the exports, the relocations, .pdata and the
 * load configuration, so that what comes later (image.c, the unwinder, the command) meets only checked values.
 *
 *     Bytes  +----------+---------------+--------+--------+-----------------+
 *            | DOS stub | NT headers    | .text  | .data  | COFF symbols... |
 *            +----------+---------------+--------+--------+-----------------+
 *            0          e_lfanew        FileOffset         SymbolTable
 *
 * An RVA becomes a file address only in LdrPeAt, a length with it; nobody else adds a base to an RVA.
 *
 * Differences from Windows, all of them refusals or leniencies that a driver does not notice: images whose sections are
 * aligned to less than a page are refused; the subsystem is not checked (a kernel DLL may carry any); checksums and
 * signatures are not verified; TLS, delay imports, resources and debug directories are ignored.
 *
 * Invariants of an accepted LDR_PE:
 *  1. 1 <= SectionCount <= 96; sections ascend, do not overlap, start on a page at or after the headers, and end within
 *     SizeOfImage, which is a multiple of the page and at most LDRP_MAX_IMAGE.
 *  2. A section's [FileOffset, FileOffset + FileSize) lies in the buffer, and FileSize <= its pages.
 *  3. EntryPoint is 0 or in an executable section.
 *  4. Every import has a module name, and a name of 1..LDRP_MAX_STRING characters or an ordinal; its slot is 8 bytes
 *     within one section. There are at most LDRP_MAX_IMPORTS in at most LDRP_MAX_MODULES descriptors.
 *  5. Every relocation is ABSOLUTE (padding) or DIR64 with its 8 bytes within one section or the headers.
 *  6. .pdata ascends; every entry is non-empty and its code and unwind data start within the image.
 *  7. Export tables lie in the file; every name ends; every ordinal is in the table; every address is in the image.
 *  8. The work is linear in the size of the buffer and in the limits above: nothing is walked per pair, and there is
 *     no recursion.
 *
 * Watch it with `ntmm imports FILE`; tests: unit.pe_test (each refusal), fuzz.pe (the whole surface).
 */
#include <stdio.h>
#include <string.h>
#include "ldr/pe.h"

#define LDRP_MAX_IMAGE   0x20000000u /* 512 MiB */
#define LDRP_MAX_STRING  512u
#define LDRP_MAX_IMPORTS 65536u
#define LDRP_MAX_MODULES 1024u
#define LDRP_MAX_EXPORTS 65536u
#define LDRP_PAGE        0x1000u

typedef struct _LDRP_PARSE {
    LDR_PE *Pe;
    CHAR *Error;
    SIZE_T ErrorSize;
} LDRP_PARSE;

/* Writes the sentence; its value is FALSE so that a check reads `return LdrpRefuse(...)`. */
#define LdrpRefuse(Parse, ...) (snprintf((Parse)->Error, (Parse)->ErrorSize, __VA_ARGS__), FALSE)

static ULONG LdrpPages(ULONG Bytes)
{
    return (Bytes + (LDRP_PAGE - 1)) & ~(LDRP_PAGE - 1);
}

/* The section whose pages hold Rva, by binary search (invariant 1), or NULL. */
static const LDR_SECTION *LdrpSectionOf(const LDR_PE *Pe, ULONG Rva)
{
    ULONG Low = 0, High = Pe->SectionCount;
    while (Low < High) {
        ULONG Middle = (Low + High) / 2;
        const LDR_SECTION *Section = &Pe->Sections[Middle];
        if (Rva < Section->Rva) {
            High = Middle;
        } else if (Rva - Section->Rva >= LdrpPages(Section->VirtualSize)) {
            Low = Middle + 1;
        } else {
            return Section;
        }
    }
    return NULL;
}

/* TRUE if the range is within the pages of one section, or within the headers. */
static BOOLEAN LdrpInOneSection(const LDR_PE *Pe, ULONG Rva, ULONG Length)
{
    if (Rva < Pe->SizeOfHeaders) {
        return Length <= Pe->SizeOfHeaders - Rva;
    }
    const LDR_SECTION *Section = LdrpSectionOf(Pe, Rva);
    return Section != NULL && Length <= LdrpPages(Section->VirtualSize) - (Rva - Section->Rva);
}

const VOID *LdrPeAt(const LDR_PE *Pe, ULONG Rva, ULONG Length)
{
    if (Rva < Pe->SizeOfHeaders) {
        return Length <= Pe->SizeOfHeaders - Rva ? Pe->Bytes + Rva : NULL;
    }
    const LDR_SECTION *Section = LdrpSectionOf(Pe, Rva);
    if (Section == NULL) {
        return NULL;
    }
    ULONG Offset = Rva - Section->Rva;
    if (Offset > Section->FileSize || Length > Section->FileSize - Offset) {
        return NULL;
    }
    return Pe->Bytes + Section->FileOffset + Offset;
}

const CHAR *LdrPeString(const LDR_PE *Pe, ULONG Rva)
{
    ULONG Available;
    if (Rva < Pe->SizeOfHeaders) {
        Available = Pe->SizeOfHeaders - Rva;
    } else {
        const LDR_SECTION *Section = LdrpSectionOf(Pe, Rva);
        if (Section == NULL || Rva - Section->Rva >= Section->FileSize) {
            return NULL;
        }
        Available = Section->FileSize - (Rva - Section->Rva);
    }
    const CHAR *Text = LdrPeAt(Pe, Rva, 1);
    if (Available > LDRP_MAX_STRING + 1) {
        Available = LDRP_MAX_STRING + 1;
    }
    return Text != NULL && memchr(Text, 0, Available) != NULL ? Text : NULL;
}

static BOOLEAN LdrpReadAt(const LDR_PE *Pe, ULONG Rva, VOID *Target, ULONG Length)
{
    const VOID *Source = LdrPeAt(Pe, Rva, Length);
    if (Source == NULL) {
        return FALSE;
    }
    memcpy(Target, Source, Length);
    return TRUE;
}

/* Rva + Index * Size without wrapping; FALSE if it would. */
static BOOLEAN LdrpElement(ULONG Rva, ULONG Index, ULONG Size, ULONG *Element)
{
    ULONGLONG Value = (ULONGLONG)Rva + (ULONGLONG)Index * Size;
    *Element = (ULONG)Value;
    return Value <= MAXULONG;
}

/* ---- the walks: each serves the check (Parse not NULL) and the enumeration afterwards ---- */

static BOOLEAN LdrpWalkImports(const LDR_PE *Pe, LDRP_PARSE *Parse, LDR_IMPORT_ROUTINE Routine, PVOID Context)
{
    ULONG Total = 0, Index = 0;
    if (Pe->Directory[IMAGE_DIRECTORY_ENTRY_IMPORT].VirtualAddress == 0) {
        return TRUE;
    }
    for (;; Index++) {
        IMAGE_IMPORT_DESCRIPTOR Descriptor;
        LDR_IMPORT Import;
        ULONG Rva;
        if (!LdrpElement(Pe->Directory[IMAGE_DIRECTORY_ENTRY_IMPORT].VirtualAddress, Index, sizeof(Descriptor), &Rva) ||
            !LdrpReadAt(Pe, Rva, &Descriptor, sizeof(Descriptor))) {
            return Parse != NULL && LdrpRefuse(Parse,
                                               "malformed: the import table runs out of its section at "
                                               "descriptor %u",
                                               Index);
        }
        if (Descriptor.Name == 0 || Descriptor.FirstThunk == 0) {
            break;
        }
        if (Index == LDRP_MAX_MODULES) {
            return Parse != NULL && LdrpRefuse(Parse, "malformed: more than %u import descriptors", LDRP_MAX_MODULES);
        }
        Import.Descriptor = Index;
        Import.Module = LdrPeString(Pe, Descriptor.Name);
        if (Import.Module == NULL || Import.Module[0] == 0) {
            return Parse != NULL && LdrpRefuse(Parse,
                                               "malformed: import descriptor %u has no readable module name "
                                               "(RVA 0x%x)",
                                               Index, Descriptor.Name);
        }
        ULONG Table = Descriptor.OriginalFirstThunk != 0 ? Descriptor.OriginalFirstThunk : Descriptor.FirstThunk;
        for (ULONG Slot = 0;; Slot++) {
            ULONGLONG Thunk;
            ULONG ThunkRva;
            if (!LdrpElement(Table, Slot, 8, &ThunkRva) || !LdrpReadAt(Pe, ThunkRva, &Thunk, 8)) {
                return Parse != NULL &&
                       LdrpRefuse(Parse, "malformed: the import list of %.64s runs out of its section", Import.Module);
            }
            if (Thunk == 0) {
                break;
            }
            if (Total++ == LDRP_MAX_IMPORTS) {
                return Parse != NULL && LdrpRefuse(Parse, "malformed: more than %u imports", LDRP_MAX_IMPORTS);
            }
            if (!LdrpElement(Descriptor.FirstThunk, Slot, 8, &Import.SlotRva) || Import.SlotRva < Pe->SizeOfHeaders ||
                !LdrpInOneSection(Pe, Import.SlotRva, 8)) {
                return Parse != NULL && LdrpRefuse(Parse,
                                                   "malformed: the import address table of %.64s lies outside "
                                                   "the sections",
                                                   Import.Module);
            }
            if (Thunk & IMAGE_ORDINAL_FLAG64) {
                Import.Name = NULL;
                Import.Ordinal = (USHORT)Thunk;
            } else {
                /* a hint of two bytes, then the name */
                Import.Ordinal = 0;
                Import.Name = Thunk <= MAXLONG - 2 ? LdrPeString(Pe, (ULONG)Thunk + 2) : NULL;
                if (Import.Name == NULL || Import.Name[0] == 0) {
                    return Parse != NULL &&
                           LdrpRefuse(Parse, "malformed: import %u of %.64s has no readable name", Slot, Import.Module);
                }
            }
            if (Routine != NULL && !Routine(&Import, Context)) {
                return FALSE;
            }
        }
    }
    if (Parse != NULL) {
        Parse->Pe->ImportCount = Total;
        Parse->Pe->ImportModules = Index;
    }
    return TRUE;
}

static BOOLEAN LdrpWalkRelocations(const LDR_PE *Pe, LDRP_PARSE *Parse, LDR_RELOCATION_ROUTINE Routine, PVOID Context)
{
    IMAGE_DATA_DIRECTORY Directory = Pe->Directory[IMAGE_DIRECTORY_ENTRY_BASERELOC];
    ULONG Count = 0;
    if (Directory.VirtualAddress == 0 || Directory.Size == 0) {
        return TRUE;
    }
    const UCHAR *At = LdrPeAt(Pe, Directory.VirtualAddress, Directory.Size);
    if (At == NULL) {
        return Parse != NULL && LdrpRefuse(Parse,
                                           "malformed: the relocations (RVA 0x%x, 0x%x bytes) lie outside the "
                                           "file's sections",
                                           Directory.VirtualAddress, Directory.Size);
    }
    ULONG Left = Directory.Size;
    while (Left >= sizeof(IMAGE_BASE_RELOCATION)) {
        IMAGE_BASE_RELOCATION Block;
        memcpy(&Block, At, sizeof(Block));
        if (Block.SizeOfBlock == 0) {
            break; /* padding to the end */
        }
        if (Block.SizeOfBlock < sizeof(Block) || Block.SizeOfBlock > Left) {
            return Parse != NULL && LdrpRefuse(Parse,
                                               "malformed: a relocation block at page 0x%x has %u bytes where %u "
                                               "are left",
                                               Block.VirtualAddress, Block.SizeOfBlock, Left);
        }
        for (ULONG Offset = sizeof(Block); Offset + 2 <= Block.SizeOfBlock; Offset += 2) {
            USHORT Entry;
            memcpy(&Entry, At + Offset, 2);
            ULONG Type = Entry >> 12;
            if (Type == IMAGE_REL_BASED_ABSOLUTE) {
                continue;
            }
            if (Type != IMAGE_REL_BASED_DIR64) {
                return Parse != NULL &&
                       LdrpRefuse(Parse, "malformed: relocation type %u; an x64 image has only DIR64 (10)", Type);
            }
            ULONGLONG Rva = (ULONGLONG)Block.VirtualAddress + (Entry & 0xFFF);
            if (Rva > MAXULONG || !LdrpInOneSection(Pe, (ULONG)Rva, 8)) {
                return Parse != NULL &&
                       LdrpRefuse(Parse, "malformed: a relocation at RVA 0x%llx lies outside the sections", Rva);
            }
            Count++;
            if (Routine != NULL && !Routine((ULONG)Rva, Context)) {
                return FALSE;
            }
        }
        At += Block.SizeOfBlock;
        Left -= Block.SizeOfBlock;
    }
    if (Parse != NULL) {
        Parse->Pe->RelocationCount = Count;
    }
    return TRUE;
}

/* One export from its index in the address table; FALSE if it is malformed. An unused index has Rva 0 and no forwarder. */
static BOOLEAN LdrpExportAt(const LDR_PE *Pe, const IMAGE_EXPORT_DIRECTORY *Exports, ULONG Index, LDR_EXPORT *Export)
{
    IMAGE_DATA_DIRECTORY Directory = Pe->Directory[IMAGE_DIRECTORY_ENTRY_EXPORT];
    ULONG Rva;
    if (!LdrpReadAt(Pe, Exports->AddressOfFunctions + Index * 4, &Rva, 4) || Rva >= Pe->SizeOfImage) {
        return FALSE;
    }
    Export->Ordinal = Exports->Base + Index;
    Export->Rva = Rva;
    Export->Forwarder = NULL;
    if (Rva != 0 && Rva - Directory.VirtualAddress < Directory.Size) {
        Export->Rva = 0;
        Export->Forwarder = LdrPeString(Pe, Rva);
        return Export->Forwarder != NULL;
    }
    return TRUE;
}

static BOOLEAN LdrpWalkExports(const LDR_PE *Pe, LDRP_PARSE *Parse, LDR_EXPORT_ROUTINE Routine, PVOID Context)
{
    IMAGE_DATA_DIRECTORY Directory = Pe->Directory[IMAGE_DIRECTORY_ENTRY_EXPORT];
    IMAGE_EXPORT_DIRECTORY Exports;
    UCHAR Named[LDRP_MAX_EXPORTS / 8];
    if (Directory.VirtualAddress == 0 || Directory.Size == 0) {
        return TRUE;
    }
    if (!LdrpReadAt(Pe, Directory.VirtualAddress, &Exports, sizeof(Exports))) {
        return Parse != NULL && LdrpRefuse(Parse,
                                           "malformed: the export directory (RVA 0x%x) lies outside the file's "
                                           "sections",
                                           Directory.VirtualAddress);
    }
    if (Exports.NumberOfFunctions > LDRP_MAX_EXPORTS || Exports.NumberOfNames > LDRP_MAX_EXPORTS) {
        return Parse != NULL && LdrpRefuse(Parse, "malformed: %u exports with %u names; %u is the most an image can have",
                                           Exports.NumberOfFunctions, Exports.NumberOfNames, LDRP_MAX_EXPORTS);
    }
    /* Whole tables first, so that the elements' RVAs below cannot wrap. */
    if ((Exports.NumberOfFunctions != 0 && LdrPeAt(Pe, Exports.AddressOfFunctions, Exports.NumberOfFunctions * 4) == NULL) ||
        (Exports.NumberOfNames != 0 && (LdrPeAt(Pe, Exports.AddressOfNames, Exports.NumberOfNames * 4) == NULL ||
                                        LdrPeAt(Pe, Exports.AddressOfNameOrdinals, Exports.NumberOfNames * 2) == NULL))) {
        return Parse != NULL && LdrpRefuse(Parse, "malformed: an export table lies outside the file's sections");
    }
    memset(Named, 0, (Exports.NumberOfFunctions + 7) / 8);
    for (ULONG Index = 0; Index < Exports.NumberOfNames; Index++) {
        LDR_EXPORT Export;
        ULONG NameRva = 0;
        USHORT Function = 0;
        LdrpReadAt(Pe, Exports.AddressOfNames + Index * 4, &NameRva, 4);
        LdrpReadAt(Pe, Exports.AddressOfNameOrdinals + Index * 2, &Function, 2);
        Export.Name = LdrPeString(Pe, NameRva);
        if (Export.Name == NULL || Export.Name[0] == 0 || Function >= Exports.NumberOfFunctions ||
            !LdrpExportAt(Pe, &Exports, Function, &Export)) {
            return Parse != NULL && LdrpRefuse(Parse, "malformed: export %u has no readable name or address", Index);
        }
        Named[Function / 8] |= (UCHAR)(1u << (Function % 8));
        if (Routine != NULL && !Routine(&Export, Context)) {
            return FALSE;
        }
    }
    for (ULONG Index = 0; Index < Exports.NumberOfFunctions; Index++) {
        LDR_EXPORT Export;
        if (Named[Index / 8] & (1u << (Index % 8))) {
            continue;
        }
        Export.Name = NULL;
        if (!LdrpExportAt(Pe, &Exports, Index, &Export)) {
            return Parse != NULL &&
                   LdrpRefuse(Parse, "malformed: the export of ordinal %u has no address in the image", Exports.Base + Index);
        }
        if (Routine != NULL && (Export.Rva != 0 || Export.Forwarder != NULL) && !Routine(&Export, Context)) {
            return FALSE;
        }
    }
    if (Parse != NULL) {
        const CHAR *Name = LdrPeString(Pe, Exports.Name);
        snprintf(Parse->Pe->ExportName, sizeof(Parse->Pe->ExportName), "%.63s", Name != NULL ? Name : "");
        Parse->Pe->ExportCount = Exports.NumberOfFunctions;
    }
    return TRUE;
}

BOOLEAN LdrPeEnumerateImports(const LDR_PE *Pe, LDR_IMPORT_ROUTINE Routine, PVOID Context)
{
    return LdrpWalkImports(Pe, NULL, Routine, Context);
}

BOOLEAN LdrPeEnumerateRelocations(const LDR_PE *Pe, LDR_RELOCATION_ROUTINE Routine, PVOID Context)
{
    return LdrpWalkRelocations(Pe, NULL, Routine, Context);
}

BOOLEAN LdrPeEnumerateExports(const LDR_PE *Pe, LDR_EXPORT_ROUTINE Routine, PVOID Context)
{
    return LdrpWalkExports(Pe, NULL, Routine, Context);
}

/* ---- the parse ---- */

static BOOLEAN LdrpCheckFunctions(LDRP_PARSE *Parse)
{
    LDR_PE *Pe = Parse->Pe;
    IMAGE_DATA_DIRECTORY Directory = Pe->Directory[IMAGE_DIRECTORY_ENTRY_EXCEPTION];
    ULONG Count = Directory.Size / sizeof(LDR_RUNTIME_FUNCTION), Last = 0;
    if (Directory.VirtualAddress == 0 || Count == 0) {
        return TRUE;
    }
    const UCHAR *Table = LdrPeAt(Pe, Directory.VirtualAddress, Directory.Size);
    if (Table == NULL) {
        return LdrpRefuse(Parse,
                          "malformed: the exception directory (RVA 0x%x, 0x%x bytes) lies outside the file's "
                          "sections",
                          Directory.VirtualAddress, Directory.Size);
    }
    for (ULONG Index = 0; Index < Count; Index++) {
        LDR_RUNTIME_FUNCTION Function;
        memcpy(&Function, Table + Index * sizeof(Function), sizeof(Function));
        if (Function.Begin == 0) {
            break; /* padding to the end */
        }
        if (Function.Begin < Last || Function.End <= Function.Begin || Function.End > Pe->SizeOfImage ||
            Function.UnwindData >= Pe->SizeOfImage) {
            return LdrpRefuse(Parse,
                              "malformed: entry %u of the exception directory (0x%x-0x%x) is out of order or "
                              "outside the image",
                              Index, Function.Begin, Function.End);
        }
        Last = Function.Begin;
        Pe->FunctionCount = Index + 1;
    }
    return TRUE;
}

static BOOLEAN LdrpCheckLoadConfig(LDRP_PARSE *Parse)
{
    LDR_PE *Pe = Parse->Pe;
    IMAGE_DATA_DIRECTORY *Directory = &Pe->Directory[IMAGE_DIRECTORY_ENTRY_LOAD_CONFIG];
    ULONG Size;
    ULONGLONG Cookie = 0;
    if (Directory->VirtualAddress == 0) {
        return TRUE;
    }
    if (!LdrpReadAt(Pe, Directory->VirtualAddress, &Size, sizeof(Size)) ||
        LdrPeAt(Pe, Directory->VirtualAddress, Size) == NULL) {
        return LdrpRefuse(Parse, "malformed: the load configuration (RVA 0x%x) lies outside the file's sections",
                          Directory->VirtualAddress);
    }
    if (Size < LDR_LOAD_CONFIG_SECURITY_COOKIE + 8) {
        Directory->VirtualAddress = 0; /* too old to name a cookie */
        return TRUE;
    }
    LdrpReadAt(Pe, Directory->VirtualAddress + LDR_LOAD_CONFIG_SECURITY_COOKIE, &Cookie, sizeof(Cookie));
    if (Cookie != 0 &&
        (Cookie < Pe->ImageBase || Cookie - Pe->ImageBase > MAXULONG || Cookie - Pe->ImageBase < Pe->SizeOfHeaders ||
         !LdrpInOneSection(Pe, (ULONG)(Cookie - Pe->ImageBase), 8))) {
        return LdrpRefuse(Parse, "malformed: the security cookie lies outside the image's sections");
    }
    return TRUE;
}

static const CHAR *LdrpMachineName(USHORT Machine)
{
    switch (Machine) {
    case IMAGE_FILE_MACHINE_I386:
        return "32-bit x86";
    case IMAGE_FILE_MACHINE_ARMNT:
        return "32-bit ARM";
    case IMAGE_FILE_MACHINE_ARM64:
        return "ARM64";
    case IMAGE_FILE_MACHINE_IA64:
        return "Itanium";
    default:
        return NULL;
    }
}

/* The section's name: eight characters, or "/N", an offset into the string table behind the COFF symbols. */
static VOID LdrpSectionName(const LDR_PE *Pe, const IMAGE_SECTION_HEADER *Header, CHAR *Name, SIZE_T NameSize)
{
    CHAR Short[9];
    memcpy(Short, Header->Name, 8);
    Short[8] = 0;
    if (Short[0] == '/' && Short[1] >= '0' && Short[1] <= '9' && Pe->SymbolTable != 0) {
        ULONGLONG Offset = Pe->SymbolTable + (ULONGLONG)Pe->SymbolCount * 18;
        ULONG Index = 0;
        for (const CHAR *Digit = Short + 1; *Digit >= '0' && *Digit <= '9'; Digit++) {
            Index = Index * 10 + (ULONG)(*Digit - '0');
        }
        Offset += Index;
        if (Offset < Pe->Size && memchr(Pe->Bytes + Offset, 0, Pe->Size - Offset) != NULL) {
            snprintf(Name, NameSize, "%.*s", (int)NameSize - 1, (const CHAR *)Pe->Bytes + Offset);
            return;
        }
    }
    snprintf(Name, NameSize, "%s", Short);
}

static BOOLEAN LdrpParseSections(LDRP_PARSE *Parse, ULONG Count, SIZE_T TableOffset)
{
    LDR_PE *Pe = Parse->Pe;
    ULONG End = LdrpPages(Pe->SizeOfHeaders);
    for (ULONG Index = 0; Index < Count; Index++) {
        IMAGE_SECTION_HEADER Header;
        LDR_SECTION *Section = &Pe->Sections[Index];
        memcpy(&Header, Pe->Bytes + TableOffset + Index * sizeof(Header), sizeof(Header));
        LdrpSectionName(Pe, &Header, Section->Name, sizeof(Section->Name));
        Section->Rva = Header.VirtualAddress;
        Section->VirtualSize = Header.VirtualSize != 0 ? Header.VirtualSize : Header.SizeOfRawData;
        Section->FileOffset = Header.PointerToRawData;
        Section->FileSize = Header.PointerToRawData != 0 ? Header.SizeOfRawData : 0;
        Section->Characteristics = Header.Characteristics;
        for (CHAR *Name = Section->Name; *Name != 0; Name++) {
            if (*Name < ' ' || *Name > '~') {
                *Name = '?'; /* names are shown to people */
            }
        }
        if (Section->Rva & (LDRP_PAGE - 1)) {
            return LdrpRefuse(Parse, "malformed: section %s starts at RVA 0x%x, not on a page", Section->Name, Section->Rva);
        }
        if (Section->VirtualSize == 0) {
            return LdrpRefuse(Parse, "malformed: section %s is empty", Section->Name);
        }
        if (Section->Rva < End) {
            return LdrpRefuse(Parse, "malformed: section %s (RVA 0x%x) overlaps what comes before it", Section->Name,
                              Section->Rva);
        }
        if (Section->Rva > Pe->SizeOfImage || Section->VirtualSize > Pe->SizeOfImage - Section->Rva) {
            return LdrpRefuse(Parse, "malformed: section %s ends at RVA 0x%llx, beyond the image's size 0x%x", Section->Name,
                              (ULONGLONG)Section->Rva + Section->VirtualSize, Pe->SizeOfImage);
        }
        if (Section->FileSize != 0 && (Section->FileOffset > Pe->Size || Section->FileSize > Pe->Size - Section->FileOffset)) {
            return LdrpRefuse(Parse, "truncated: section %s needs bytes 0x%x to 0x%llx of a file of 0x%zx", Section->Name,
                              Section->FileOffset, (ULONGLONG)Section->FileOffset + Section->FileSize, (size_t)Pe->Size);
        }
        if (Section->FileSize > LdrpPages(Section->VirtualSize)) {
            Section->FileSize = LdrpPages(Section->VirtualSize);
        }
        End = Section->Rva + LdrpPages(Section->VirtualSize);
        Pe->SectionCount = Index + 1;
    }
    return TRUE;
}

static BOOLEAN LdrpParse(LDRP_PARSE *Parse)
{
    LDR_PE *Pe = Parse->Pe;
    IMAGE_DOS_HEADER Dos;
    IMAGE_FILE_HEADER File;
    IMAGE_OPTIONAL_HEADER64 Optional;
    ULONG Signature;
    USHORT Magic;

    if (Pe->Size == 0) {
        return LdrpRefuse(Parse, "the file is empty");
    }
    if (Pe->Size >= 4 && memcmp(Pe->Bytes, "\177ELF", 4) == 0) {
        return LdrpRefuse(Parse, "not a Windows image: it is an ELF file");
    }
    if (Pe->Size < 2 || memcmp(Pe->Bytes, "MZ", 2) != 0) {
        return LdrpRefuse(Parse, "not a PE image: it does not start with \"MZ\"");
    }
    if (Pe->Size < sizeof(Dos)) {
        return LdrpRefuse(Parse, "truncated: %zu bytes, less than the DOS header's 64", (size_t)Pe->Size);
    }
    memcpy(&Dos, Pe->Bytes, sizeof(Dos));
    SIZE_T Offset = (ULONG)Dos.e_lfanew;
    if (Offset > Pe->Size || Pe->Size - Offset < sizeof(Signature) + sizeof(File)) {
        return LdrpRefuse(Parse, "truncated or not a PE image: its PE header would be at offset 0x%zx of 0x%zx bytes",
                          (size_t)Offset, (size_t)Pe->Size);
    }
    memcpy(&Signature, Pe->Bytes + Offset, sizeof(Signature));
    if (Signature != IMAGE_NT_SIGNATURE) {
        return LdrpRefuse(Parse, "not a PE image: no \"PE\" signature at offset 0x%zx (a DOS program?)", (size_t)Offset);
    }
    memcpy(&File, Pe->Bytes + Offset + sizeof(Signature), sizeof(File));
    if (File.Machine != IMAGE_FILE_MACHINE_AMD64) {
        const CHAR *Name = LdrpMachineName(File.Machine);
        if (Name != NULL) {
            return LdrpRefuse(Parse, "this is an image for %s (machine 0x%x); only x64 drivers (0x8664) run here", Name,
                              File.Machine);
        }
        return LdrpRefuse(Parse, "this is an image for machine 0x%x; only x64 drivers (0x8664) run here", File.Machine);
    }
    Offset += sizeof(Signature) + sizeof(File);
    if (File.SizeOfOptionalHeader > Pe->Size - Offset) {
        return LdrpRefuse(Parse, "truncated: the file ends within its headers");
    }
    if (File.SizeOfOptionalHeader < sizeof(Optional)) {
        return LdrpRefuse(Parse, "malformed: an optional header of %u bytes; PE32+ has at least %zu (an object file?)",
                          File.SizeOfOptionalHeader, sizeof(Optional));
    }
    memcpy(&Magic, Pe->Bytes + Offset, sizeof(Magic));
    if (Magic != IMAGE_NT_OPTIONAL_HDR64_MAGIC) {
        return LdrpRefuse(Parse, "malformed: optional header magic 0x%x; PE32+ (64-bit) is 0x20b", Magic);
    }
    memcpy(&Optional, Pe->Bytes + Offset, sizeof(Optional));
    if (!(File.Characteristics & IMAGE_FILE_EXECUTABLE_IMAGE)) {
        return LdrpRefuse(Parse, "the linker marked this image as not executable (unresolved references)");
    }
    if (Optional.SectionAlignment < LDRP_PAGE || (Optional.SectionAlignment & (Optional.SectionAlignment - 1))) {
        return LdrpRefuse(Parse,
                          "sections are aligned to 0x%x bytes; page alignment (0x1000) or a larger power of two "
                          "is needed to protect them",
                          Optional.SectionAlignment);
    }
    if (Optional.FileAlignment == 0 || (Optional.FileAlignment & (Optional.FileAlignment - 1)) ||
        Optional.FileAlignment > Optional.SectionAlignment) {
        return LdrpRefuse(Parse, "malformed: file alignment 0x%x", Optional.FileAlignment);
    }
    if (Optional.SizeOfImage == 0 || Optional.SizeOfImage > LDRP_MAX_IMAGE) {
        return LdrpRefuse(Parse, "malformed: the image's size in memory is 0x%x; at most 0x%x is possible",
                          Optional.SizeOfImage, LDRP_MAX_IMAGE);
    }
    Pe->ImageBase = Optional.ImageBase;
    Pe->SizeOfImage = LdrpPages(Optional.SizeOfImage);
    Pe->SizeOfHeaders = Optional.SizeOfHeaders;
    Pe->EntryPoint = Optional.AddressOfEntryPoint;
    Pe->TimeDateStamp = File.TimeDateStamp;
    Pe->CheckSum = Optional.CheckSum;
    Pe->FileCharacteristics = File.Characteristics;
    Pe->Subsystem = Optional.Subsystem;
    Pe->DllCharacteristics = Optional.DllCharacteristics;
    if (File.PointerToSymbolTable != 0 && File.PointerToSymbolTable <= Pe->Size &&
        (ULONGLONG)File.NumberOfSymbols * 18 <= Pe->Size - File.PointerToSymbolTable) {
        Pe->SymbolTable = File.PointerToSymbolTable;
        Pe->SymbolCount = File.NumberOfSymbols;
    }

    ULONG Directories = Optional.NumberOfRvaAndSizes;
    if (Directories > IMAGE_NUMBEROF_DIRECTORY_ENTRIES) {
        Directories = IMAGE_NUMBEROF_DIRECTORY_ENTRIES;
    }
    if (Directories * sizeof(IMAGE_DATA_DIRECTORY) > File.SizeOfOptionalHeader - sizeof(Optional)) {
        return LdrpRefuse(Parse, "malformed: %u data directories do not fit into the optional header", Directories);
    }
    memcpy(Pe->Directory, Pe->Bytes + Offset + sizeof(Optional), Directories * sizeof(IMAGE_DATA_DIRECTORY));
    Offset += File.SizeOfOptionalHeader;

    if (File.NumberOfSections == 0 || File.NumberOfSections > LDR_MAX_SECTIONS) {
        return LdrpRefuse(Parse, "malformed: %u sections; an image has 1 to %u", File.NumberOfSections, LDR_MAX_SECTIONS);
    }
    SIZE_T TableEnd = Offset + (SIZE_T)File.NumberOfSections * sizeof(IMAGE_SECTION_HEADER);
    if (TableEnd > Pe->Size) {
        return LdrpRefuse(Parse, "truncated: the file ends within its section table");
    }
    if (Pe->SizeOfHeaders < TableEnd || Pe->SizeOfHeaders > Pe->SizeOfImage) {
        return LdrpRefuse(Parse, "malformed: 0x%x bytes of headers, which end at 0x%zx", Pe->SizeOfHeaders, (size_t)TableEnd);
    }
    if (Pe->SizeOfHeaders > Pe->Size) {
        return LdrpRefuse(Parse, "truncated: 0x%zx bytes, less than its headers' 0x%x", (size_t)Pe->Size, Pe->SizeOfHeaders);
    }
    if (!LdrpParseSections(Parse, File.NumberOfSections, Offset)) {
        return FALSE;
    }
    if (Pe->EntryPoint != 0) {
        const LDR_SECTION *Section = LdrpSectionOf(Pe, Pe->EntryPoint);
        if (Section == NULL || !(Section->Characteristics & IMAGE_SCN_MEM_EXECUTE)) {
            return LdrpRefuse(Parse, "malformed: the entry point (RVA 0x%x) is not in an executable section", Pe->EntryPoint);
        }
    }
    if (Pe->Directory[IMAGE_DIRECTORY_ENTRY_COM].VirtualAddress != 0) {
        return LdrpRefuse(Parse, "this is a .NET assembly, not a driver");
    }
    return LdrpWalkImports(Pe, Parse, NULL, NULL) && LdrpWalkExports(Pe, Parse, NULL, NULL) &&
           LdrpWalkRelocations(Pe, Parse, NULL, NULL) && LdrpCheckFunctions(Parse) && LdrpCheckLoadConfig(Parse);
}

BOOLEAN LdrParsePe(const VOID *Bytes, SIZE_T Size, LDR_PE *Pe, CHAR *Error, SIZE_T ErrorSize)
{
    LDRP_PARSE Parse = {Pe, Error, ErrorSize};
    memset(Pe, 0, sizeof(*Pe));
    Pe->Bytes = Bytes;
    Pe->Size = Size;
    if (ErrorSize != 0) {
        Error[0] = 0;
    }
    return LdrpParse(&Parse);
}
