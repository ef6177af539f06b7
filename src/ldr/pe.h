/*
 * pe.h - a checked description of a PE32+ x64 image, and walks over what it holds. Pure: pe.c needs nothing but the
 * bytes. SPDX-License-Identifier: MIT
 */
#pragma once
#include "ldr/ntimage.h"

#define LDR_MAX_SECTIONS 96
#define LDR_ERROR_CHARS  256 /* room for one clear sentence */

typedef struct _LDR_SECTION {
    CHAR Name[24];              /* long names resolved, cut to 23 characters */
    ULONG Rva;                  /* page aligned, ascending */
    ULONG VirtualSize;          /* bytes used; the section's pages are Rva .. Rva + round_up(VirtualSize) */
    ULONG FileOffset, FileSize; /* FileSize already cut to the pages of the section */
    ULONG Characteristics;
} LDR_SECTION;

/* A PE32+ x64 native image, every field checked against the buffer. Points into Bytes: they outlive it. */
typedef struct _LDR_PE {
    const UCHAR *Bytes;
    SIZE_T Size;
    ULONGLONG ImageBase;
    ULONG SizeOfImage, SizeOfHeaders, EntryPoint /* RVA; 0: none */, TimeDateStamp, CheckSum;
    USHORT FileCharacteristics, Subsystem, DllCharacteristics;
    ULONG SectionCount;
    LDR_SECTION Sections[LDR_MAX_SECTIONS];
    IMAGE_DATA_DIRECTORY Directory[IMAGE_NUMBEROF_DIRECTORY_ENTRIES]; /* absent: 0, 0 */
    ULONG ImportCount, ImportModules, ExportCount, RelocationCount, FunctionCount /* .pdata */;
    ULONG SymbolTable, SymbolCount; /* COFF symbols: file offset, 0 if absent or out of the file */
    CHAR ExportName[64];            /* the image's own name in its export directory, or "" */
} LDR_PE;

/* Parses and checks the whole image. FALSE: Error holds one sentence without a full stop that says what is wrong. */
BOOLEAN LdrParsePe(const VOID *Bytes, SIZE_T Size, LDR_PE *Pe, CHAR *Error, SIZE_T ErrorSize);
/* The file's bytes behind [Rva, Rva + Length), NULL if they are not all in the headers or in one section's file data. */
const VOID *LdrPeAt(const LDR_PE *Pe, ULONG Rva, ULONG Length);
/* The zero-terminated string at Rva, NULL unless it ends within the section's file data. */
const CHAR *LdrPeString(const LDR_PE *Pe, ULONG Rva);

typedef struct _LDR_IMPORT {
    const CHAR *Module;
    const CHAR *Name; /* NULL: by ordinal */
    USHORT Ordinal;
    ULONG SlotRva;    /* of the 8-byte import address table slot */
    ULONG Descriptor; /* index of the import descriptor */
} LDR_IMPORT;
typedef BOOLEAN (*LDR_IMPORT_ROUTINE)(const LDR_IMPORT *Import, PVOID Context);
/* Each calls Routine until it returns FALSE; TRUE if it never did. Only on a description that LdrParsePe accepted. */
BOOLEAN LdrPeEnumerateImports(const LDR_PE *Pe, LDR_IMPORT_ROUTINE Routine, PVOID Context);
typedef BOOLEAN (*LDR_RELOCATION_ROUTINE)(ULONG Rva, PVOID Context); /* DIR64 */
BOOLEAN LdrPeEnumerateRelocations(const LDR_PE *Pe, LDR_RELOCATION_ROUTINE Routine, PVOID Context);
typedef struct _LDR_EXPORT {
    const CHAR *Name;      /* NULL: by ordinal only */
    ULONG Ordinal;         /* biased: what importers use */
    ULONG Rva;             /* 0 when forwarded */
    const CHAR *Forwarder; /* "MODULE.Name", or NULL */
} LDR_EXPORT;
typedef BOOLEAN (*LDR_EXPORT_ROUTINE)(const LDR_EXPORT *Export, PVOID Context);
BOOLEAN LdrPeEnumerateExports(const LDR_PE *Pe, LDR_EXPORT_ROUTINE Routine, PVOID Context);
